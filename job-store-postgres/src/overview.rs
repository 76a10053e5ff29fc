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
            overview.jobs.insert(status_code::status(row.try_get(0)?)?, count.unsigned_abs());
        }
        // Each half follows one of the two indexes that know nothing of entries which are held or wait.
        let entries = sqlx::query(
            "SELECT count(*), count(*) FILTER (WHERE attempts > 0), min(due_at) FROM (
                 (SELECT due_at, attempts FROM outbox
                  WHERE due_at <= $1 AND parked_until IS NULL AND NOT held AND NOT suspended
                    AND NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = outbox.partition_id)
                  LIMIT $2)
                 UNION ALL
                 (SELECT due_at, attempts FROM outbox
                  WHERE parked_until IS NOT NULL AND due_at <= $1 AND NOT held AND NOT suspended
                    AND NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = outbox.partition_id)
                  LIMIT $2)
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
