//! Redispatching what is unfinished, partition by partition.

use std::collections::BTreeSet;

use async_trait::async_trait;
use job_core::store::{Action, RedispatchStep};
use job_core::{JobKey, JobStatus, Result, Timestamp};
use sqlx::PgConnection;

use crate::job_rows::{self, Lock};
use crate::step::{Form, Step, Trouble};
use crate::{actions, read, status_code};

pub(crate) struct Redispatch<'a> {
    pub(crate) after: Option<&'a JobKey>,
    pub(crate) limit: u32,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Step for Redispatch<'_> {
    type Output = RedispatchStep;
    const NAME: &'static str = "store::redispatch";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<RedispatchStep, Trouble> {
        let limit = self.limit.max(1) as usize;
        let mut visited = self.unfinished(connection, limit + 1).await?;
        let is_last = visited.len() <= limit;
        visited.truncate(limit);
        let next = if is_last { None } else { visited.last().cloned() };
        let keys: BTreeSet<JobKey> = visited.into_iter().collect();
        let jobs = job_rows::read(connection, &keys, Lock::InOrder).await?;
        let acted = actions::apply(connection, jobs, Action::Redispatch, self.now).await?;
        Ok(RedispatchStep { redispatched: acted.passing_over_damaged(), next })
    }
}

impl Redispatch<'_> {
    /// The next unfinished jobs, in the order of their keys. Partitions in which everything is finished are known by the
    /// counts of their jobs, and passed over without a look at those.
    async fn unfinished(&self, connection: &mut PgConnection, limit: usize) -> Result<Vec<JobKey>, Trouble> {
        let unfinished = JobStatus::ALL.into_iter().filter(|status| !status.is_finished());
        let unfinished: Vec<i16> = unfinished.map(status_code::code).collect();
        let texts = |key: &JobKey| (key.partition.as_str().to_owned(), key.job.as_str().to_owned());
        let mut after = self.after.map(texts).unwrap_or_default();
        let mut found = Vec::new();
        loop {
            let wanted = limit - found.len();
            // Partitions are joined one by one in their order, each with its jobs in theirs, until there are enough.
            let keys: Vec<(String, String)> = sqlx::query_as(
                "SELECT p.partition_id, j.job_id FROM (
                     SELECT partition_id FROM job_count WHERE partition_id >= $1 AND status = ANY($3)
                     GROUP BY partition_id HAVING sum(jobs) <> 0 ORDER BY partition_id OFFSET 0
                 ) p
                 CROSS JOIN LATERAL (
                     SELECT s.job_id FROM unnest($3::smallint[]) AS k(status)
                     CROSS JOIN LATERAL (
                         SELECT job_id FROM job
                         WHERE job.partition_id = p.partition_id AND job.status = k.status
                           AND job_id > CASE WHEN p.partition_id = $1 THEN $2 ELSE '' END
                         ORDER BY job_id LIMIT $4
                     ) s
                     ORDER BY s.job_id LIMIT $4
                 ) j
                 LIMIT $4",
            )
            .bind(&after.0)
            .bind(&after.1)
            .bind(&unfinished)
            .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
            .fetch_all(&mut *connection)
            .await?;
            found.extend(keys.iter().filter_map(|(partition, job)| read::key(partition, job)));
            match keys.into_iter().nth(wanted.saturating_sub(1)) {
                Some(last) if found.len() < limit => after = last,
                _ => return Ok(found),
            }
        }
    }
}
