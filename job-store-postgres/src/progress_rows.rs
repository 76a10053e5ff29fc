//! The rows of the table `job_progress`: what a batch of reports needs of them, and what it changes.
//!
//! The record of the job itself, with the bits of its first subtasks, is in the row of the job, so most jobs have no
//! row here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use job_core::TaskPath;
use job_core::progress::{Changes, Corrupt, Footprint, Tree, chunk_of};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use crate::job_rows::{self, JobRow, same_jobs};
use crate::path_bytes;
use crate::record_block::{Block, block_of};
use crate::row_place::RowPlace;
use crate::step::Trouble;

const RECORDS: i16 = 0;
const CHUNK: i16 = 1;

/// Progress of one job that makes no sense; the text says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl Broken {
    fn row() -> Self {
        Self("a stored row of progress makes no sense".to_owned())
    }
}

impl From<Corrupt> for Broken {
    fn from(corrupt: Corrupt) -> Self {
        Self(corrupt.to_string())
    }
}

/// Which row: a block of records under the parent and its index, a chunk under its task and its index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    parent: TaskPath,
    kind: i16,
    number: u32,
}

impl Key {
    /// The row with the record of a task; `None` for the job itself, whose record is elsewhere.
    fn of_record(task: &TaskPath) -> Option<Self> {
        task.split_last().map(|(parent, number)| Self { parent, kind: RECORDS, number: block_of(number) })
    }

    fn of_chunk(task: TaskPath, index: u32) -> Self {
        Self { parent: task, kind: CHUNK, number: index }
    }
}

/// A row as it is stored.
#[derive(Debug)]
struct Stored {
    place: RowPlace,
    /// Nothing for a chunk, which is in the tree as a whole.
    data: Vec<u8>,
}

/// A job's progress as far as it is in memory.
#[derive(Debug, Default)]
pub(crate) struct LoadedTree {
    pub(crate) tree: Tree,
    /// `None` for a row that was looked for and is not there.
    rows: HashMap<Key, Option<Stored>>,
    /// Tasks whose stored records are in the tree.
    records: BTreeSet<TaskPath>,
    /// Chunks on their way into the tree.
    chunks: Vec<(Key, Vec<u8>)>,
}

impl LoadedTree {
    pub(crate) fn of_job(row: &JobRow) -> Result<Self, Broken> {
        let mut loaded = Self::default();
        if let Some(bytes) = &row.progress {
            loaded.tree.load_record(&TaskPath::root(), bytes)?;
        }
        Ok(loaded)
    }

    /// Whether the task has a stored record. Only meaningful for tasks that were asked for.
    pub(crate) fn is_stored(&self, task: &TaskPath) -> bool {
        self.records.contains(task)
    }

    /// How much memory it takes, nearly.
    pub(crate) fn bytes(&self) -> usize {
        let data = self.rows.values().flatten().map(|stored| stored.data.capacity()).sum::<usize>();
        self.tree.heap_bytes()
            + self.rows.capacity() * size_of::<(Key, Option<Stored>)>()
            + self.records.len() * size_of::<TaskPath>()
            + data
    }

    fn stored(&self, key: &Key) -> Option<&Stored> {
        self.rows.get(key)?.as_ref()
    }

    fn block(&self, key: &Key) -> Result<Block, Broken> {
        match self.stored(key) {
            Some(stored) => Block::decode(key.number, &stored.data).ok_or_else(Broken::row),
            None => Ok(Block::default()),
        }
    }

    /// Puts the records of these tasks into the tree, where there are any. Tasks come before those below them, since a
    /// record replaces what is below it.
    pub(crate) fn put_records<'t>(
        &mut self,
        tasks: impl IntoIterator<Item = &'t TaskPath>,
    ) -> Result<(), Broken> {
        // Neighbours are in the same block.
        let mut current: Option<(Key, Block)> = None;
        for task in tasks {
            // What is in the tree may be newer than what is stored, and has more below it.
            if self.records.contains(task) {
                continue;
            }
            let Some(key) = Key::of_record(task).filter(|key| self.stored(key).is_some()) else { continue };
            let (_, number) = task.split_last().ok_or_else(Broken::row)?;
            if current.as_ref().is_none_or(|(known, _)| *known != key) {
                let block = self.block(&key)?;
                current = Some((key, block));
            }
            let record = current.as_ref().and_then(|(_, block)| block.0.get(&number));
            if let Some(record) = record {
                self.tree.load_record(task, record)?;
                self.records.insert(task.clone());
            }
        }
        Ok(())
    }

    /// Puts all chunks that were loaded into the tree; the records of their tasks must be in.
    pub(crate) fn put_chunks(&mut self) -> Result<(), Broken> {
        for (key, data) in std::mem::take(&mut self.chunks) {
            self.tree.load_chunk(&key.parent, key.number, &data)?;
        }
        Ok(())
    }

    /// Puts in everything that was loaded of a task's direct children numbered higher than `after`.
    fn put_behind(&mut self, parent: &TaskPath, after: u32) -> Result<(), Broken> {
        let mut children = BTreeSet::new();
        for key in self.rows.keys().filter(|key| key.kind == RECORDS && key.parent == *parent) {
            for number in self.block(key)?.0.into_keys().filter(|number| *number > after) {
                children.insert(parent.child(number).map_err(|_| Broken::row())?);
            }
        }
        self.put_records(&children)?;
        self.put_chunks()
    }

    /// Puts in everything that was loaded.
    pub(crate) fn put_all(&mut self) -> Result<(), Broken> {
        let mut tasks: Vec<TaskPath> = Vec::new();
        for key in self.rows.keys().filter(|key| key.kind == RECORDS) {
            for number in self.block(key)?.0.into_keys() {
                tasks.push(key.parent.child(number).map_err(|_| Broken::row())?);
            }
        }
        tasks.sort_unstable_by(|a, b| (a.depth(), a).cmp(&(b.depth(), b)));
        self.put_records(&tasks)?;
        self.put_chunks()
    }
}

/// The rows that the reports of one job need first: those above the reported tasks.
pub(crate) fn needed_above(footprint: &Footprint, loaded: &LoadedTree) -> BTreeSet<Key> {
    let records = footprint.parents.iter().filter_map(Key::of_record);
    let chunks = footprint.chunks.iter().map(|(task, index)| Key::of_chunk(task.clone(), *index));
    records.chain(chunks).filter(|key| !loaded.rows.contains_key(key)).collect()
}

/// The rows with the records of the reported tasks themselves, where there may be any.
pub(crate) fn needed_at(footprint: &Footprint, loaded: &LoadedTree) -> BTreeSet<Key> {
    let may_exist = |task: &&TaskPath| {
        !loaded.is_stored(task)
            && task.split_last().is_some_and(|(parent, _)| loaded.tree.has_child_records(&parent))
    };
    let keys = footprint.tasks.iter().filter(may_exist).filter_map(Key::of_record);
    keys.filter(|key| !loaded.rows.contains_key(key)).collect()
}

// Which of the jobs are still the versions that were read comes along: rows of another version are of no use, and their
// numbers may contradict those in memory.
macro_rules! with_same_jobs {
    ($places:literal, $numbers:literal, $writers:literal, $times:literal, $select:literal) => {
        concat!(
            "WITH same AS MATERIALIZED (",
            same_jobs!($places, $numbers, $writers, $times, "OFFSET 0"),
            ") SELECT NULL::bigint AS job_no, NULL::bytea AS parent, NULL::smallint AS kind, count(*) AS number,
                      NULL::bytea AS data, NULL::tid AS at FROM same
             UNION ALL ",
            $select
        )
    };
}

/// Loads rows for several jobs in one statement. Returns whether all the jobs are still the versions that were read.
pub(crate) async fn load(
    connection: &mut PgConnection,
    needed: Vec<(&JobRow, BTreeSet<Key>)>,
    loaded: &mut HashMap<i64, LoadedTree>,
) -> Result<bool, Trouble> {
    let jobs: Vec<&JobRow> =
        needed.iter().filter(|(_, keys)| !keys.is_empty()).map(|(row, _)| *row).collect();
    if jobs.is_empty() {
        return Ok(true);
    }
    let keys = || needed.iter().flat_map(|(row, keys)| keys.iter().map(move |key| (row, key)));
    let query = sqlx::query(with_same_jobs!(
        "$6",
        "$7",
        "$8",
        "$9",
        "SELECT k.job_no, p.parent, p.kind, p.number, p.data, p.ctid
         FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS w(partition_id, parent, place)
         CROSS JOIN LATERAL (
             SELECT ($3::bigint[])[w.place] AS job_no, ($4::smallint[])[w.place] AS kind,
                    ($5::bigint[])[w.place] AS number
         ) k
         CROSS JOIN LATERAL (
             SELECT parent, kind, number, data, ctid FROM job_progress
             WHERE partition_id = w.partition_id AND job_no = k.job_no AND parent = w.parent AND kind = k.kind
               AND number = k.number OFFSET 0
         ) p"
    ))
    .bind(keys().map(|(row, _)| row.key.partition.as_str()).collect::<Vec<_>>())
    .bind(keys().map(|(_, key)| path_bytes::encode(&key.parent)).collect::<Vec<_>>())
    .bind(keys().map(|(row, _)| row.job_no).collect::<Vec<_>>())
    .bind(keys().map(|(_, key)| key.kind).collect::<Vec<_>>())
    .bind(keys().map(|(_, key)| i64::from(key.number)).collect::<Vec<_>>());
    let rows = job_rows::bind_versions(query, &jobs).fetch_all(connection).await?;
    for (row, keys) in needed {
        loaded.entry(row.job_no).or_default().rows.extend(keys.into_iter().map(|key| (key, None)));
    }
    Ok(take_in(&rows, loaded)? == jobs.len())
}

/// Loads, for each job, task and number, the chunks and the direct children's records behind that number, and puts them
/// into the trees. A job whose rows make no sense is returned with what is wrong; `None` when some job is no more the
/// version that was read.
pub(crate) async fn load_behind(
    connection: &mut PgConnection,
    needed: &[(&JobRow, BTreeSet<(TaskPath, u32)>)],
    loaded: &mut HashMap<i64, LoadedTree>,
) -> Result<Option<Vec<(i64, Broken)>>, Trouble> {
    let jobs: Vec<&JobRow> =
        needed.iter().filter(|(_, places)| !places.is_empty()).map(|(row, _)| *row).collect();
    if jobs.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let places = || needed.iter().flat_map(|(row, places)| places.iter().map(move |place| (row, place)));
    let query = sqlx::query(with_same_jobs!(
        "$6",
        "$7",
        "$8",
        "$9",
        "SELECT k.job_no, p.parent, p.kind, p.number, p.data, p.ctid
         FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[])
             AS k(partition_id, job_no, parent, block, chunk)
         CROSS JOIN LATERAL (
             SELECT parent, kind, number, data, ctid FROM job_progress
             WHERE partition_id = k.partition_id AND job_no = k.job_no AND parent = k.parent
               AND (kind = 0 AND number >= k.block OR kind = 1 AND number >= k.chunk)
             OFFSET 0
         ) p"
    ))
    .bind(places().map(|(row, _)| row.key.partition.as_str()).collect::<Vec<_>>())
    .bind(places().map(|(row, _)| row.job_no).collect::<Vec<_>>())
    .bind(places().map(|(_, (parent, _))| path_bytes::encode(parent)).collect::<Vec<_>>())
    .bind(places().map(|(_, (_, number))| i64::from(block_of(*number))).collect::<Vec<_>>())
    .bind(places().map(|(_, (_, number))| i64::from(chunk_of(*number))).collect::<Vec<_>>());
    let rows = job_rows::bind_versions(query, &jobs).fetch_all(connection).await?;
    if take_in(&rows, loaded)? < jobs.len() {
        return Ok(None);
    }
    let mut broken = Vec::new();
    for (row, places) in needed {
        for (parent, number) in places {
            if let Some(Err(error)) = loaded.get_mut(&row.job_no).map(|tree| tree.put_behind(parent, *number))
            {
                broken.push((row.job_no, error));
            }
        }
    }
    Ok(Some(broken))
}

/// Loads every row of one job.
pub(crate) async fn load_all(
    connection: &mut PgConnection,
    row: &JobRow,
) -> Result<Result<LoadedTree, Broken>, Trouble> {
    let rows = sqlx::query(
        "SELECT job_no, parent, kind, number, data, ctid FROM job_progress WHERE partition_id = $1 AND job_no = $2",
    )
    .bind(row.key.partition.as_str())
    .bind(row.job_no)
    .fetch_all(connection)
    .await?;
    let tree = match LoadedTree::of_job(row) {
        Ok(tree) => tree,
        Err(broken) => return Ok(Err(broken)),
    };
    let mut loaded = HashMap::from([(row.job_no, tree)]);
    take_in(&rows, &mut loaded)?;
    let mut tree = loaded.remove(&row.job_no).unwrap_or_default();
    Ok(tree.put_all().map(|()| tree))
}

/// Returns how many jobs are still the versions that were read, where [`with_same_jobs!`] says so.
fn take_in(rows: &[PgRow], loaded: &mut HashMap<i64, LoadedTree>) -> Result<usize, Trouble> {
    let mut same = 0;
    for row in rows {
        let number = row.try_get::<i64, _>(3)?;
        let Some(kind) = row.try_get::<Option<i16>, _>(2)? else {
            same = number as usize;
            continue;
        };
        // A row in a place that cannot be is never asked for, and so never mistaken for another.
        let (Ok(parent), Ok(number)) = (path_bytes::decode(row.try_get(1)?), u32::try_from(number)) else {
            continue;
        };
        let key = Key { parent, kind, number };
        let mut data: Vec<u8> = row.try_get(4)?;
        let loaded = loaded.entry(row.try_get(0)?).or_default();
        if kind == CHUNK {
            loaded.chunks.push((key.clone(), std::mem::take(&mut data)));
        }
        loaded.rows.insert(key, Some(Stored { place: row.try_get(5)?, data }));
    }
    Ok(same)
}

macro_rules! update_progress {
    ($places:literal, $data:literal) => {
        concat!(
            "UPDATE job_progress p SET data = k.data FROM unnest(",
            $places,
            "::tid[], ",
            $data,
            "::bytea[]) WITH ORDINALITY AS k(at, data, place) WHERE p.ctid = k.at"
        )
    };
}
pub(crate) use update_progress;

// Whether all the rows to be updated are where they were. That their jobs are the same does not say so: a table that is
// written anew (VACUUM FULL) has other rows there, or none.
macro_rules! same_progress {
    ($places:literal, $jobs:literal, $parents:literal, $kinds:literal, $numbers:literal) => {
        concat!(
            "SELECT count(*) = cardinality(",
            $places,
            "::tid[]) AS holds FROM unnest(",
            $places,
            "::tid[], ",
            $parents,
            "::bytea[]) WITH ORDINALITY AS k(at, parent, place)
             CROSS JOIN LATERAL (
                 SELECT FROM job_progress p WHERE p.ctid = k.at AND p.parent = k.parent AND p.job_no = (",
            $jobs,
            "::bigint[])[k.place] AND p.kind = (",
            $kinds,
            "::smallint[])[k.place] AND p.number = (",
            $numbers,
            "::bigint[])[k.place] OFFSET 0
             ) p"
        )
    };
}
pub(crate) use same_progress;

macro_rules! insert_progress {
    ($partitions:literal, $jobs:literal, $parents:literal, $kinds:literal, $numbers:literal, $data:literal,
     $condition:literal) => {
        concat!(
            "INSERT INTO job_progress (partition_id, job_no, parent, kind, number, data)
             SELECT k.* FROM unnest(",
            $partitions,
            "::text[], ",
            $jobs,
            "::bigint[], ",
            $parents,
            "::bytea[], ",
            $kinds,
            "::smallint[], ",
            $numbers,
            "::bigint[], ",
            $data,
            "::bytea[]) k WHERE ",
            $condition,
            " ON CONFLICT (partition_id, job_no, parent, kind, number) DO UPDATE SET data = excluded.data
             RETURNING job_no, parent, kind, number, ctid AS at"
        )
    };
}
pub(crate) use insert_progress;

// In the order of `Writes::inserted`.
macro_rules! places_inserted {
    ($inserted:literal) => {
        concat!("SELECT array_agg(at ORDER BY job_no, parent, kind, number) FROM ", $inserted)
    };
}
pub(crate) use places_inserted;

/// A row whose data changes.
#[derive(Debug)]
struct Update {
    place: RowPlace,
    job_no: i64,
    key: Key,
    data: Vec<u8>,
}

/// What a batch changes, of several jobs.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Tasks below which everything goes.
    emptied: Vec<(String, i64, TaskPath)>,
    /// With the partitions of the jobs.
    inserted: BTreeMap<(i64, Key), (String, Vec<u8>)>,
    updated: Vec<Update>,
    removed: Vec<RowPlace>,
}

/// Where the rows are that were updated and inserted, in the order of [`Writes`].
#[derive(Debug, Default)]
pub(crate) struct WrittenPlaces {
    pub(crate) updated: Vec<RowPlace>,
    pub(crate) inserted: Vec<RowPlace>,
}

impl Writes {
    /// Takes in what has become of one job's progress: `dropped` tasks go with everything below them.
    pub(crate) fn add(
        &mut self,
        row: &JobRow,
        loaded: &mut LoadedTree,
        dropped: &[TaskPath],
        changes: Changes,
    ) -> Result<(), Broken> {
        let mut blocks: BTreeMap<Key, Block> = BTreeMap::new();
        let mut edit = |loaded: &LoadedTree, task: &TaskPath, record: Option<Vec<u8>>| {
            let (Some(key), Some((_, number))) = (Key::of_record(task), task.split_last()) else {
                return Ok::<(), Broken>(());
            };
            if !blocks.contains_key(&key) {
                blocks.insert(key.clone(), loaded.block(&key)?);
            }
            if let Some(block) = blocks.get_mut(&key) {
                match record {
                    Some(record) => drop(block.0.insert(number, record)),
                    None => drop(block.0.remove(&number)),
                }
            }
            Ok(())
        };
        for task in dropped {
            edit(loaded, task, None)?;
            self.emptied.push((row.key.partition.as_str().to_owned(), row.job_no, task.clone()));
        }
        for (task, record) in changes.records {
            edit(loaded, &task, Some(record))?;
            loaded.records.insert(task);
        }
        for (key, block) in blocks {
            match loaded.stored(&key).map(|stored| stored.place) {
                Some(place) if block.0.is_empty() => self.removed.push(place),
                None if block.0.is_empty() => {}
                place => self.write_row(row, place, key, block.encode()),
            }
        }
        for (task, index, data) in changes.chunks {
            let key = Key::of_chunk(task, index);
            self.write_row(row, loaded.stored(&key).map(|stored| stored.place), key, data);
        }
        Ok(())
    }

    fn write_row(&mut self, row: &JobRow, place: Option<RowPlace>, key: Key, data: Vec<u8>) {
        match place {
            Some(place) => self.updated.push(Update { place, job_no: row.job_no, key, data }),
            None => {
                let partition = row.key.partition.as_str().to_owned();
                self.inserted.insert((row.job_no, key), (partition, data));
            }
        }
    }

    pub(crate) async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.remove(connection).await?;
        self.empty(connection).await?;
        self.update(connection).await?;
        self.insert(connection).await?;
        Ok(())
    }

    /// Writes what [only adds](Self::only_add), without the locks of the jobs having been held since it was read. Returns
    /// where the rows are now; `None` when one of them was not where it was.
    pub(crate) async fn write_if_same(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<WrittenPlaces>, sqlx::Error> {
        let updated = self.update_if_same(connection).await?;
        if updated.len() < self.updated.len() {
            return Ok(None);
        }
        Ok(Some(WrittenPlaces { updated, inserted: self.insert(connection).await? }))
    }

    /// Brings trees up to date with what was written of them.
    pub(crate) fn was_written(self, places: WrittenPlaces, trees: &mut HashMap<i64, &mut LoadedTree>) {
        let updated = self.updated.into_iter().zip(places.updated);
        let updated = updated.map(|(row, place)| (row.job_no, row.key, place, row.data));
        let inserted = self.inserted.into_iter().zip(places.inserted);
        let inserted = inserted.map(|(((job_no, key), (_, data)), place)| (job_no, key, place, data));
        for (job_no, key, place, data) in updated.chain(inserted) {
            if let Some(tree) = trees.get_mut(&job_no) {
                let data = if key.kind == CHUNK { Vec::new() } else { data };
                tree.rows.insert(key, Some(Stored { place, data }));
            }
        }
    }

    async fn remove(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.removed.is_empty() {
            sqlx::query("DELETE FROM job_progress WHERE ctid = ANY($1)")
                .bind(&self.removed)
                .execute(connection)
                .await?;
        }
        Ok(())
    }

    async fn empty(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.emptied.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "DELETE FROM job_progress WHERE ctid = ANY(ARRAY(
                 SELECT p.ctid
                 FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])
                     AS k(partition_id, job_no, first, past)
                 CROSS JOIN LATERAL (
                     SELECT ctid FROM job_progress
                     WHERE partition_id = k.partition_id AND job_no = k.job_no AND parent >= k.first
                       AND parent < k.past OFFSET 0
                 ) p))",
        )
        .bind(self.emptied.iter().map(|(partition, ..)| partition.as_str()).collect::<Vec<_>>())
        .bind(self.emptied.iter().map(|(_, job_no, _)| *job_no).collect::<Vec<_>>())
        .bind(self.emptied.iter().map(|(.., task)| path_bytes::encode(task)).collect::<Vec<_>>())
        .bind(self.emptied.iter().map(|(.., task)| path_bytes::end_of_subtree(task)).collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn update(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.updated.is_empty() {
            self.bind_updated(sqlx::query(update_progress!("$1", "$2"))).execute(connection).await?;
        }
        Ok(())
    }

    async fn update_if_same(&self, connection: &mut PgConnection) -> Result<Vec<RowPlace>, sqlx::Error> {
        if self.updated.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query(concat!(
            "WITH same AS MATERIALIZED (",
            same_progress!("$1", "$3", "$4", "$5", "$6"),
            "), updated AS (",
            update_progress!("$1", "$2"),
            " AND (SELECT holds FROM same) RETURNING k.place, p.ctid AS at)
             SELECT array_agg(at ORDER BY place) FROM updated"
        ));
        let query = self.bind_updated_keys(self.bind_updated(query));
        places(&query.fetch_one(connection).await?, 0)
    }

    async fn insert(&self, connection: &mut PgConnection) -> Result<Vec<RowPlace>, sqlx::Error> {
        if self.inserted.is_empty() {
            return Ok(Vec::new());
        }
        let query = sqlx::query(concat!(
            "WITH inserted AS (",
            insert_progress!("$1", "$2", "$3", "$4", "$5", "$6", "true"),
            ") ",
            places_inserted!("inserted")
        ));
        places(&self.bind_inserted(query).fetch_one(connection).await?, 0)
    }

    /// Whether rows are only written, and none is removed.
    pub(crate) fn only_add(&self) -> bool {
        self.emptied.is_empty() && self.removed.is_empty()
    }

    /// Binds the two parameters of [`update_progress!`].
    pub(crate) fn bind_updated<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.updated.iter().map(|row| row.place).collect::<Vec<_>>())
            .bind(self.updated.iter().map(|row| row.data.as_slice()).collect::<Vec<_>>())
    }

    /// Binds the parameters of [`same_progress!`] beside the places.
    pub(crate) fn bind_updated_keys<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.updated.iter().map(|row| row.job_no).collect::<Vec<_>>())
            .bind(self.updated.iter().map(|row| path_bytes::encode(&row.key.parent)).collect::<Vec<_>>())
            .bind(self.updated.iter().map(|row| row.key.kind).collect::<Vec<_>>())
            .bind(self.updated.iter().map(|row| i64::from(row.key.number)).collect::<Vec<_>>())
    }

    /// Binds the six parameters of [`insert_progress!`].
    pub(crate) fn bind_inserted<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        let inserted = &self.inserted;
        query
            .bind(inserted.values().map(|(partition, _)| partition.as_str()).collect::<Vec<_>>())
            .bind(inserted.keys().map(|(job_no, _)| *job_no).collect::<Vec<_>>())
            .bind(inserted.keys().map(|(_, key)| path_bytes::encode(&key.parent)).collect::<Vec<_>>())
            .bind(inserted.keys().map(|(_, key)| key.kind).collect::<Vec<_>>())
            .bind(inserted.keys().map(|(_, key)| i64::from(key.number)).collect::<Vec<_>>())
            .bind(inserted.values().map(|(_, data)| data.as_slice()).collect::<Vec<_>>())
    }
}

/// A column with the places of rows.
pub(crate) fn places(row: &PgRow, column: usize) -> Result<Vec<RowPlace>, sqlx::Error> {
    Ok(row.try_get::<Option<Vec<RowPlace>>, _>(column)?.unwrap_or_default())
}

/// Removes all rows of these jobs.
pub(crate) async fn remove_all(
    connection: &mut PgConnection,
    partitions: &[&str],
    job_numbers: &[i64],
) -> Result<(), sqlx::Error> {
    if job_numbers.is_empty() {
        return Ok(());
    }
    sqlx::query("DELETE FROM job_progress WHERE partition_id = ANY($1) AND job_no = ANY($2)")
        .bind(partitions)
        .bind(job_numbers)
        .execute(connection)
        .await?;
    Ok(())
}
