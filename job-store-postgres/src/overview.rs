//! The whole store at a glance.

use async_trait::async_trait;
use job_core::Timestamp;
use job_core::store::{OVERVIEW_ENTRIES_MAX, Overview};
use sqlx::{PgConnection, Row};

use crate::status_code;
use crate::step::{Form, Step, Trouble};

pub(crate) struct Glance {
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Step for Glance {
    type Output = Overview;
    const NAME: &'static str = "store::overview";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Overview, Trouble> {
        let mut overview = Overview::default();
        let counts = sqlx::query(
            "SELECT status, sum(jobs)::bigint FROM job_count GROUP BY status HAVING sum(jobs) > 0",
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in &counts {
            let count: i64 = row.try_get(1)?;
            match status_code::status(row.try_get(0)?) {
                Ok(status) => drop(overview.jobs.insert(status, count.unsigned_abs())),
                Err(error) => tracing::error!(%error, jobs = count, "damaged jobs are not counted"),
            }
        }
        // What is not parked is found by skipping from partition to partition, past those that are suspended; of what is
        // parked so much is looked at, whatever it is.
        let entries = sqlx::query(
            "WITH RECURSIVE partition AS (
                 SELECT (SELECT min(partition_id) FROM outbox
                         WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended) AS id
                 UNION ALL
                 SELECT (SELECT min(partition_id) FROM outbox
                         WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
                           AND partition_id > p.id)
                 FROM partition p WHERE p.id IS NOT NULL
             ), free AS MATERIALIZED (
                 SELECT p.id FROM partition p
                 WHERE p.id IS NOT NULL
                   AND NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = p.id)
             )
             SELECT count(*), count(*) FILTER (WHERE attempts > 0), min(due_at) FROM (
                 (SELECT o.due_at, o.attempts FROM free
                  CROSS JOIN LATERAL (
                      SELECT due_at, attempts FROM outbox
                      WHERE due_at <= $1 AND parked_until IS NULL AND NOT held AND NOT suspended
                        AND outbox.partition_id = free.id
                      ORDER BY due_at LIMIT $2
                  ) o
                  LIMIT $2)
                 UNION ALL
                 (SELECT o.due_at, o.attempts FROM (
                      SELECT partition_id, due_at, attempts, held, suspended FROM outbox
                      WHERE parked_until IS NOT NULL ORDER BY parked_until LIMIT $2
                  ) o
                  WHERE o.due_at <= $1 AND NOT o.held AND NOT o.suspended
                    AND NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = o.partition_id))
             ) due",
        )
        .bind(self.now.as_millis())
        .bind(i64::try_from(OVERVIEW_ENTRIES_MAX).unwrap_or(i64::MAX))
        .fetch_one(connection)
        .await?;
        let (due, failing): (i64, i64) = (entries.try_get(0)?, entries.try_get(1)?);
        (overview.due, overview.failing) = (due.unsigned_abs(), failing.unsigned_abs());
        overview.oldest_due = entries.try_get::<Option<i64>, _>(2)?.map(Timestamp::from_millis);
        Ok(overview)
    }
}
