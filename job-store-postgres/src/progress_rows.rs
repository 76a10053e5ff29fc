//! The rows of the table `job_progress`: what a batch of reports needs of them, and what it changes.
//!
//! The record of the job itself, with the bits of its first subtasks, is in the row of the job, so most jobs have no
//! row here.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use job_core::progress::{Changes, Corrupt, Footprint, Tree, chunk_of};
use job_core::{PartitionId, TaskPath};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use crate::job_rows::{self, JobRow, same_jobs};
use crate::path_bytes;
use crate::record_block::{Block, block_of};
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

/// A job's progress as far as it is in memory.
#[derive(Debug, Default)]
pub(crate) struct LoadedTree {
    pub(crate) tree: Tree,
    /// The rows' data, but nothing for a chunk, which is in the tree as a whole; `None` for a row that was looked for and is
    /// not there.
    rows: HashMap<Key, Option<Vec<u8>>>,
    /// Tasks whose stored records are in the tree.
    records: BTreeSet<TaskPath>,
    /// Chunks on their way into the tree.
    chunks: Vec<(Key, Vec<u8>)>,
}

/// Of several jobs, by their numbers. In boxes, as a batch may be about a thousand, which go from hand to hand.
pub(crate) type Trees = HashMap<i64, Box<LoadedTree>>;

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
        let data = self.rows.values().flatten().map(Vec::capacity).sum::<usize>();
        self.tree.heap_bytes()
            + self.rows.capacity() * size_of::<(Key, Option<Vec<u8>>)>()
            + self.records.len() * size_of::<TaskPath>()
            + data
    }

    fn stored(&self, key: &Key) -> Option<&[u8]> {
        self.rows.get(key)?.as_deref()
    }

    fn block(&self, key: &Key) -> Result<Block, Broken> {
        match self.stored(key) {
            Some(data) => Block::decode(key.number, data).ok_or_else(Broken::row),
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
    ($select_with_five_parameters:literal) => {
        concat!(
            "WITH same AS MATERIALIZED (",
            same_jobs!("$6", "$7", "$8", "$9", "$10", "OFFSET 0"),
            ") SELECT NULL::bigint AS job_no, NULL::bytea AS parent, NULL::smallint AS kind, count(*) AS number,
                      NULL::bytea AS data FROM same
             UNION ALL ",
            $select_with_five_parameters
        )
    };
}

/// Loads rows for several jobs in one statement. Returns whether all the jobs are still the versions that were read.
pub(crate) async fn load(
    connection: &mut PgConnection,
    needed: Vec<(&JobRow, BTreeSet<Key>)>,
    loaded: &mut Trees,
) -> Result<bool, Trouble> {
    let jobs: Vec<&JobRow> =
        needed.iter().filter(|(_, keys)| !keys.is_empty()).map(|(row, _)| *row).collect();
    if jobs.is_empty() {
        return Ok(true);
    }
    let keys = || needed.iter().flat_map(|(row, keys)| keys.iter().map(move |key| (row, key)));
    let query = sqlx::query(with_same_jobs!(
        "SELECT k.job_no, p.parent, p.kind, p.number, p.data
         FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS w(partition_id, parent, place)
         CROSS JOIN LATERAL (
             SELECT ($3::bigint[])[w.place] AS job_no, ($4::smallint[])[w.place] AS kind,
                    ($5::bigint[])[w.place] AS number
         ) k
         CROSS JOIN LATERAL (
             SELECT parent, kind, number, data FROM job_progress
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
    loaded: &mut Trees,
) -> Result<Option<Vec<(i64, Broken)>>, Trouble> {
    let jobs: Vec<&JobRow> =
        needed.iter().filter(|(_, places)| !places.is_empty()).map(|(row, _)| *row).collect();
    if jobs.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let places = || needed.iter().flat_map(|(row, places)| places.iter().map(move |place| (row, place)));
    let query = sqlx::query(with_same_jobs!(
        "SELECT k.job_no, p.parent, p.kind, p.number, p.data
         FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[])
             AS k(partition_id, job_no, parent, block, chunk)
         CROSS JOIN LATERAL (
             SELECT parent, kind, number, data FROM job_progress
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
        "SELECT job_no, parent, kind, number, data FROM job_progress WHERE partition_id = $1 AND job_no = $2",
    )
    .bind(row.key.partition.as_str())
    .bind(row.job_no)
    .fetch_all(connection)
    .await?;
    let tree = match LoadedTree::of_job(row) {
        Ok(tree) => tree,
        Err(broken) => return Ok(Err(broken)),
    };
    let mut loaded = HashMap::from([(row.job_no, Box::new(tree))]);
    take_in(&rows, &mut loaded)?;
    let mut tree = loaded.remove(&row.job_no).unwrap_or_default();
    Ok(tree.put_all().map(|()| *tree))
}

/// Returns how many jobs are still the versions that were read, where [`with_same_jobs!`] says so.
fn take_in(rows: &[PgRow], loaded: &mut Trees) -> Result<usize, Trouble> {
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
        loaded.rows.insert(key, Some(data));
    }
    Ok(same)
}

// Found by their keys and not where they were, since only who comes to a row by an index makes room on its page: without
// that, versions pile up, and new ones have to go to other pages, past every index.
macro_rules! update_progress {
    ($partitions:literal, $jobs:literal, $parents:literal, $kinds:literal, $numbers:literal, $data:literal) => {
        concat!(
            "UPDATE job_progress p SET data = k.data FROM ",
            $crate::progress_rows::progress_changes!($partitions, $jobs, $parents, $kinds, $numbers, $data),
            " WHERE p.partition_id = k.partition_id AND p.job_no = k.job_no AND p.parent = k.parent AND p.kind = k.kind
                 AND p.number = k.number"
        )
    };
}
pub(crate) use update_progress;

macro_rules! insert_progress {
    ($partitions:literal, $jobs:literal, $parents:literal, $kinds:literal, $numbers:literal, $data:literal,
     $condition:literal) => {
        concat!(
            "INSERT INTO job_progress (partition_id, job_no, parent, kind, number, data) SELECT k.* FROM ",
            $crate::progress_rows::progress_changes!($partitions, $jobs, $parents, $kinds, $numbers, $data),
            " WHERE ",
            $condition,
            " ON CONFLICT (partition_id, job_no, parent, kind, number) DO UPDATE SET data = excluded.data"
        )
    };
}
pub(crate) use insert_progress;

macro_rules! progress_changes {
    ($partitions:literal, $jobs:literal, $parents:literal, $kinds:literal, $numbers:literal, $data:literal) => {
        concat!(
            "unnest(",
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
            "::bytea[]) AS k(partition_id, job_no, parent, kind, number, data)"
        )
    };
}
pub(crate) use progress_changes;

/// A row with its new data.
#[derive(Debug)]
struct Change {
    partition: PartitionId,
    job_no: i64,
    key: Key,
    data: Vec<u8>,
}

/// What a batch changes, of several jobs.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Tasks below which everything goes.
    emptied: Vec<(PartitionId, i64, TaskPath)>,
    inserted: Vec<Change>,
    updated: Vec<Change>,
    removed: Vec<Change>,
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
            self.emptied.push((row.key.partition.clone(), row.job_no, task.clone()));
        }
        for (task, record) in changes.records {
            edit(loaded, &task, Some(record))?;
            loaded.records.insert(task);
        }
        let change =
            |key, data| Change { partition: row.key.partition.clone(), job_no: row.job_no, key, data };
        for (key, block) in blocks {
            match (loaded.stored(&key).is_some(), block.0.is_empty()) {
                (false, true) => {}
                (true, true) => self.removed.push(change(key, Vec::new())),
                (true, false) => self.updated.push(change(key, block.encode())),
                (false, false) => self.inserted.push(change(key, block.encode())),
            }
        }
        for (task, index, data) in changes.chunks {
            let key = Key::of_chunk(task, index);
            let rows = if loaded.stored(&key).is_some() { &mut self.updated } else { &mut self.inserted };
            rows.push(change(key, data));
        }
        Ok(())
    }

    pub(crate) async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.remove(connection).await?;
        self.empty(connection).await?;
        self.update(connection).await?;
        self.insert(connection).await?;
        Ok(())
    }

    /// Brings trees up to date with what was written of them.
    pub(crate) fn was_written<'t>(self, trees: impl Iterator<Item = (i64, &'t mut LoadedTree)>) {
        if self.updated.is_empty() && self.inserted.is_empty() {
            return;
        }
        let mut trees: HashMap<i64, &mut LoadedTree> = trees.collect();
        for Change { job_no, key, data, .. } in self.updated.into_iter().chain(self.inserted) {
            if let Some(tree) = trees.get_mut(&job_no) {
                let data = if key.kind == CHUNK { Vec::new() } else { data };
                tree.rows.insert(key, Some(data));
            }
        }
    }

    async fn remove(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.removed.is_empty() {
            let query = sqlx::query(concat!(
                "DELETE FROM job_progress p USING ",
                progress_changes!("$1", "$2", "$3", "$4", "$5", "$6"),
                " WHERE p.partition_id = k.partition_id AND p.job_no = k.job_no AND p.parent = k.parent
                     AND p.kind = k.kind AND p.number = k.number"
            ));
            bind(query, &self.removed).execute(connection).await?;
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
            let query = sqlx::query(update_progress!("$1", "$2", "$3", "$4", "$5", "$6"));
            self.bind_updated(query).execute(connection).await?;
        }
        Ok(())
    }

    async fn insert(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.inserted.is_empty() {
            let query = sqlx::query(insert_progress!("$1", "$2", "$3", "$4", "$5", "$6", "true"));
            self.bind_inserted(query).execute(connection).await?;
        }
        Ok(())
    }

    /// Whether rows are only written, and none is removed.
    pub(crate) fn only_add(&self) -> bool {
        self.emptied.is_empty() && self.removed.is_empty()
    }

    /// Binds the six parameters of [`update_progress!`].
    pub(crate) fn bind_updated<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        bind(query, &self.updated)
    }

    /// Binds the six parameters of [`insert_progress!`].
    pub(crate) fn bind_inserted<'q>(
        &'q self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        bind(query, &self.inserted)
    }
}

/// Binds the six parameters of [`progress_changes!`].
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    changes: &'q [Change],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(changes.iter().map(|change| change.partition.as_str()).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.job_no).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| path_bytes::encode(&change.key.parent)).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.key.kind).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| i64::from(change.key.number)).collect::<Vec<_>>())
        .bind(changes.iter().map(|change| change.data.as_slice()).collect::<Vec<_>>())
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
