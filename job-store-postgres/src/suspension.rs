//! Suspending partitions.
//!
//! A suspended partition is one row that every claim looks at, so that suspending costs the same whatever the partition
//! holds, and no job that is created at the same time can slip through.

use std::borrow::Cow;

use async_trait::async_trait;
use job_core::store::Suspension;
use job_core::{Error, ErrorKind, PartitionId, Result};
use sqlx::PgConnection;

use crate::step::{Form, Step, Trouble};

pub(crate) struct Suspend<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) suspension: Suspension,
}

#[async_trait]
impl Step for Suspend<'_> {
    type Output = ();
    const NAME: &'static str = "store::suspend";
    const FORM: Form = Form::Transaction;
    const IS_LONG: bool = true;

    /// Without the usual bound on time: there may be many entries to release.
    fn opening(&self) -> Cow<'static, str> {
        Cow::Borrowed("BEGIN; SET LOCAL statement_timeout = 0")
    }

    async fn run(&mut self, connection: &mut PgConnection) -> Result<(), Trouble> {
        let partition = self.partition.as_str();
        match self.suspension {
            Suspension::Hold => {
                sqlx::query(
                    "INSERT INTO suspended_partition (partition_id) VALUES ($1) ON CONFLICT DO NOTHING",
                )
                .bind(partition)
                .execute(connection)
                .await?;
            }
            Suspension::Release => {
                sqlx::query("DELETE FROM suspended_partition WHERE partition_id = $1")
                    .bind(partition)
                    .execute(&mut *connection)
                    .await?;
                // Rows of the outbox are locked in the order of their ids, here as everywhere.
                sqlx::query(
                    "UPDATE outbox SET suspended = false WHERE id = ANY(ARRAY(
                         SELECT id FROM outbox WHERE partition_id = $1 AND suspended ORDER BY id FOR UPDATE))",
                )
                .bind(partition)
                .execute(connection)
                .await?;
            }
        }
        Ok(())
    }
}

pub(crate) struct SuspendedPartitions<'a> {
    pub(crate) after: Option<&'a PartitionId>,
    pub(crate) limit: u32,
}

#[async_trait]
impl Step for SuspendedPartitions<'_> {
    type Output = Vec<PartitionId>;
    const NAME: &'static str = "store::suspended_partitions";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<PartitionId>, Trouble> {
        // Skips from partition to partition along the index, however many entries each has.
        let ids: Vec<String> = sqlx::query_scalar(
            "WITH RECURSIVE flagged AS (
                 SELECT (SELECT min(partition_id) FROM outbox WHERE suspended AND partition_id > $1) AS id
                 UNION ALL
                 SELECT (SELECT min(partition_id) FROM outbox WHERE suspended AND partition_id > f.id)
                 FROM flagged f WHERE f.id IS NOT NULL
             )
             SELECT id FROM (
                 (SELECT partition_id AS id FROM suspended_partition
                  WHERE partition_id > $1 ORDER BY partition_id LIMIT $2)
                 UNION
                 (SELECT id FROM flagged WHERE id IS NOT NULL LIMIT $2)
             ) suspended
             ORDER BY id COLLATE \"C\" LIMIT $2",
        )
        // No id is empty, so that every one is behind the empty text.
        .bind(self.after.map_or("", PartitionId::as_str))
        .bind(i64::from(self.limit))
        .fetch_all(connection)
        .await?;
        let read = |id: String| {
            PartitionId::new(id).map_err(|error| Error::new(ErrorKind::Corrupt, error.to_string()).into())
        };
        ids.into_iter().map(read).collect()
    }
}
