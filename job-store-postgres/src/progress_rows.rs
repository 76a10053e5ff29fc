//! The rows of the table `job_progress`: what a batch of reports needs of them.
//!
//! The record of the job itself, with the bits of its first subtasks, is in the row of the job, so most jobs have no
//! row here.

use std::collections::{BTreeSet, HashMap};

use job_core::TaskPath;
use job_core::progress::{Corrupt, Footprint, Tree, chunk_of};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::job_rows::{self, JobRow, same_jobs};
use crate::path_bytes;
use crate::record_block::{Block, block_of};
use crate::step::Trouble;

const RECORDS: i16 = 0;
pub(crate) const CHUNK: i16 = 1;

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
    pub(crate) parent: TaskPath,
    pub(crate) kind: i16,
    pub(crate) number: u32,
}

impl Key {
    /// The row with the record of a task; `None` for the job itself, whose record is elsewhere.
    pub(crate) fn of_record(task: &TaskPath) -> Option<Self> {
        task.split_last().map(|(parent, number)| Self { parent, kind: RECORDS, number: block_of(number) })
    }

    pub(crate) fn of_chunk(task: TaskPath, index: u32) -> Self {
        Self { parent: task, kind: CHUNK, number: index }
    }
}

/// A job's progress as far as it is in memory.
#[derive(Debug, Default)]
pub(crate) struct LoadedTree {
    pub(crate) tree: Tree,
    /// The rows' data, but nothing for a chunk, which is in the tree as a whole; `None` for a row that was looked for and is
    /// not there.
    pub(crate) rows: HashMap<Key, Option<Vec<u8>>>,
    /// Tasks whose stored records are in the tree.
    pub(crate) records: BTreeSet<TaskPath>,
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

    pub(crate) fn stored(&self, key: &Key) -> Option<&[u8]> {
        self.rows.get(key)?.as_deref()
    }

    pub(crate) fn block(&self, key: &Key) -> Result<Block, Broken> {
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
