//! Removing finished jobs, oldest first.

use std::collections::BTreeSet;

use async_trait::async_trait;
use job_core::store::PruneRequest;
use job_core::{JobKey, JobStatus, Result};
use sqlx::{PgConnection, Row};

use crate::job_rows::{self, JobRow, Lock};
use crate::removal::{self, Leaving};
use crate::status_code;
use crate::step::{Form, Step, Trouble};

pub(crate) struct Prune<'a>(pub(crate) &'a PruneRequest);

#[async_trait]
impl Step for Prune<'_> {
    type Output = u64;
    const NAME: &'static str = "store::prune";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<u64, Trouble> {
        let keys = self.candidates(connection).await?;
        let locked = job_rows::read(connection, &keys, Lock::InOrder).await?.readable();
        // A failed job may have been healed, or the id taken by a new job, between the look and the lock.
        let goes = |row: &&JobRow| {
            self.statuses().contains(&row.state.status)
                && row.state.finish_time.is_some_and(|time| time < self.0.finished_before)
        };
        let rows: Vec<Leaving<'_>> = locked.iter().filter(goes).map(Leaving::from).collect();
        removal::remove(connection, &rows).await?;
        // Fewer than the limit would say that none is left.
        if rows.len() < keys.len() {
            return Err(Trouble::Again);
        }
        Ok(rows.len() as u64)
    }
}

impl Prune<'_> {
    fn statuses(&self) -> Vec<JobStatus> {
        self.0.statuses.iter().copied().filter(|status| status.is_finished()).collect()
    }

    async fn candidates(&self, connection: &mut PgConnection) -> Result<BTreeSet<JobKey>, Trouble> {
        let request = self.0;
        let codes: Vec<i16> = self.statuses().into_iter().map(status_code::code).collect();
        let rows = sqlx::query(
            "WITH RECURSIVE partition AS (
                 SELECT coalesce($1, (SELECT min(partition_id) FROM job WHERE finish_time IS NOT NULL))
                     COLLATE \"C\" AS id
                 UNION ALL
                 SELECT (SELECT min(partition_id) FROM job WHERE finish_time IS NOT NULL AND partition_id > p.id)
                 FROM partition p WHERE p.id IS NOT NULL AND $1 IS NULL
             )
             SELECT j.partition_id, j.job_id
             FROM partition p
             CROSS JOIN LATERAL (
                 SELECT g.* FROM (
                     SELECT partition_id, job_id, job_no, finish_time, status FROM job
                     WHERE job.partition_id = p.id AND finish_time IS NOT NULL AND finish_time < $2
                     ORDER BY finish_time, job_id OFFSET 0
                 ) g
                 WHERE g.status = ANY($3)
                   AND ($4::text IS NULL OR EXISTS (
                       SELECT FROM job_detail d
                       WHERE d.job_no = g.job_no AND d.partition_id = g.partition_id AND d.labels ? $4
                       OFFSET 0))
                 LIMIT $5
             ) j
             ORDER BY j.finish_time, j.partition_id, j.job_id LIMIT $5",
        )
        .bind(request.partition.as_ref().map(job_core::PartitionId::as_str))
        .bind(request.finished_before.as_millis())
        .bind(codes)
        .bind(request.label.as_deref())
        .bind(i64::from(request.limit.max(1)))
        .fetch_all(connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(JobKey::parse(row.try_get::<&str, _>(0)?, row.try_get::<&str, _>(1)?)
                    .map_err(job_core::Error::from)?)
            })
            .collect()
    }
}
