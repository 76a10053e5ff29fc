//! Redispatching what is unfinished, partition by partition.

use std::collections::BTreeSet;

use async_trait::async_trait;
use job_core::store::{Action, ActionOutcome, RedispatchStep};
use job_core::{JobId, JobKey, JobStatus, PartitionId, Result, Timestamp};
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
        let mut rows = job_rows::lock(connection, &keys, Lock::InOrder).await?.readable();
        let outcomes = actions::apply(connection, &mut rows, Action::Redispatch, self.now).await?;
        let redispatched = outcomes.iter().filter(|outcome| **outcome == ActionOutcome::Applied).count();
        Ok(RedispatchStep { redispatched: redispatched as u64, next })
    }
}

impl Redispatch<'_> {
    /// The next unfinished jobs, in the order of their keys.
    async fn unfinished(&self, connection: &mut PgConnection, limit: usize) -> Result<Vec<JobKey>, Trouble> {
        let mut found = Vec::new();
        let mut after = self.after.map(|key| key.job.clone());
        let mut partition = match self.after {
            Some(key) => Some(key.partition.clone()),
            None => next_partition(connection, None).await?,
        };
        while let Some(current) = partition {
            let ids = in_partition(connection, &current, after.take(), limit - found.len()).await?;
            found.extend(ids.into_iter().map(|id| JobKey::new(current.clone(), id)));
            if found.len() == limit {
                break;
            }
            partition = next_partition(connection, Some(&current)).await?;
        }
        Ok(found)
    }
}

async fn next_partition(
    connection: &mut PgConnection,
    after: Option<&PartitionId>,
) -> Result<Option<PartitionId>, Trouble> {
    let next: Option<String> =
        sqlx::query_scalar("SELECT min(partition_id) FROM job WHERE partition_id > $1")
            .bind(after.map_or("", PartitionId::as_str))
            .fetch_one(connection)
            .await?;
    Ok(next.map(PartitionId::new).transpose().map_err(job_core::Error::from)?)
}

async fn in_partition(
    connection: &mut PgConnection,
    partition: &PartitionId,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobId>, Trouble> {
    let unfinished = JobStatus::ALL.into_iter().filter(|status| !status.is_finished());
    let unfinished: Vec<i16> = unfinished.map(status_code::code).collect();
    let mut after = after.as_ref().map_or("", JobId::as_str).to_owned();
    let mut found = Vec::new();
    loop {
        let wanted = limit - found.len();
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT j.job_id FROM unnest($2::smallint[]) AS k(status)
             CROSS JOIN LATERAL (
                 SELECT job_id FROM job
                 WHERE job.partition_id = $1 AND job.status = k.status AND job_id > $3
                 ORDER BY job_id LIMIT $4
             ) j
             ORDER BY j.job_id LIMIT $4",
        )
        .bind(partition.as_str())
        .bind(&unfinished)
        .bind(after)
        .bind(i64::try_from(wanted).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
        found.extend(ids.iter().filter_map(|id| read::id(id)));
        match ids.into_iter().nth(wanted.saturating_sub(1)) {
            Some(last) if found.len() < limit => after = last,
            _ => return Ok(found),
        }
    }
}
