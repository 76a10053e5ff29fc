//! What a batch of reports changes of the rows of the table `job_progress`.

use std::collections::{BTreeMap, HashMap};

use job_core::progress::Changes;
use job_core::{PartitionId, TaskPath};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use crate::job_rows::JobRow;
use crate::path_bytes;
use crate::progress_rows::{Broken, CHUNK, Key, LoadedTree};
use crate::record_block::Block;

// Found by their keys and not where they were, since only who comes to a row by an index makes room on its page: without
// that, versions pile up, and new ones have to go to other pages, past every index.
macro_rules! update_progress {
    ($partitions:literal, $jobs:literal, $parents:literal, $kinds:literal, $numbers:literal, $data:literal) => {
        concat!(
            "UPDATE job_progress p SET data = k.data FROM ",
            $crate::progress_writes::progress_changes!($partitions, $jobs, $parents, $kinds, $numbers, $data),
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
            $crate::progress_writes::progress_changes!($partitions, $jobs, $parents, $kinds, $numbers, $data),
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
