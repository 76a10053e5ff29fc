//! The rows of the table `job_failure`.

use std::collections::HashMap;

use async_trait::async_trait;
use job_core::{Failure, JobKey, Result, TaskPath, Timestamp};
use sqlx::{PgConnection, Row};

use crate::job_rows::JobRow;
use crate::path_bytes;
use crate::step::{Form, Step, Trouble};

/// Failures to be added, and tasks whose failures are over, of several locked jobs.
#[derive(Debug, Default)]
pub(crate) struct FailureChanges {
    over: Vec<(String, i64, TaskPath)>,
    added: Vec<(String, i64, i64, TaskPath, Failure)>,
}

impl FailureChanges {
    pub(crate) fn is_empty(&self) -> bool {
        self.over.is_empty() && self.added.is_empty()
    }

    pub(crate) fn add(&mut self, row: &mut JobRow, task: TaskPath, failure: Failure) {
        row.last_failure += 1;
        row.needs_whole_write = true;
        row.failure_count += 1;
        let partition = row.key.partition.as_str().to_owned();
        self.added.push((partition, row.job_no, row.last_failure, task, failure));
    }

    /// The failures of `task` and of everything below it are over: the stored ones and those added so far.
    pub(crate) fn end(&mut self, row: &mut JobRow, task: &TaskPath) {
        if row.failure_count == 0 {
            return;
        }
        row.needs_whole_write = true;
        let before = self.added.len();
        self.added.retain(|(_, job_no, _, path, _)| *job_no != row.job_no || !path.is_within(task));
        row.failure_count -= (before - self.added.len()) as i64;
        self.over.push((row.key.partition.as_str().to_owned(), row.job_no, task.clone()));
    }

    /// Removes what is over, and returns how many of each job those were.
    pub(crate) async fn remove_over(
        &self,
        connection: &mut PgConnection,
    ) -> Result<HashMap<i64, i64>, sqlx::Error> {
        let mut removed: HashMap<i64, i64> = HashMap::new();
        if self.over.is_empty() {
            return Ok(removed);
        }
        let rows = sqlx::query(
            "DELETE FROM job_failure WHERE ctid = ANY(ARRAY(
                 SELECT f.ctid FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[])
                     AS k(partition_id, job_no, first, past)
                 CROSS JOIN LATERAL (
                     SELECT ctid FROM job_failure
                     WHERE partition_id = k.partition_id AND job_no = k.job_no AND task >= k.first AND task < k.past
                     OFFSET 0
                 ) f))
             RETURNING job_no",
        )
        .bind(self.over.iter().map(|(partition, ..)| partition.as_str()).collect::<Vec<_>>())
        .bind(self.over.iter().map(|(_, job_no, _)| *job_no).collect::<Vec<_>>())
        .bind(self.over.iter().map(|(.., task)| path_bytes::encode(task)).collect::<Vec<_>>())
        .bind(self.over.iter().map(|(.., task)| path_bytes::end_of_subtree(task)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
        for row in rows {
            *removed.entry(row.try_get(0)?).or_default() += 1;
        }
        Ok(removed)
    }

    pub(crate) async fn insert_added(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.added.is_empty() {
            return Ok(());
        }
        let added = &self.added;
        sqlx::query(
            "INSERT INTO job_failure
                 (partition_id, job_no, place, task, failure_id, failure_time, source, message)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::bigint[],
                 $7::text[], $8::text[])",
        )
        .bind(added.iter().map(|(partition, ..)| partition.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, job_no, ..)| *job_no).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, _, place, ..)| *place).collect::<Vec<_>>())
        .bind(added.iter().map(|(.., task, _)| path_bytes::encode(task)).collect::<Vec<_>>())
        .bind(added.iter().map(|(.., failure)| failure.id.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(.., failure)| failure.time.as_millis()).collect::<Vec<_>>())
        .bind(added.iter().map(|(.., failure)| failure.source.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(.., failure)| failure.message.as_str()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// Reads failures in order of arrival.
pub(crate) struct Failures<'a> {
    pub(crate) job: &'a JobKey,
    pub(crate) after: u64,
    pub(crate) limit: u32,
}

#[async_trait]
impl Step for Failures<'_> {
    type Output = Vec<(u64, TaskPath, Failure)>;
    const NAME: &'static str = "store::failures";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let rows = sqlx::query(
            "SELECT f.* FROM (SELECT partition_id, job_no FROM job WHERE partition_id = $1 AND job_id = $2 OFFSET 0) j
             CROSS JOIN LATERAL (
                 SELECT place, task, failure_id, failure_time, source, message FROM job_failure
                 WHERE partition_id = j.partition_id AND job_no = j.job_no AND place > $3
                 ORDER BY place LIMIT $4
             ) f ORDER BY f.place",
        )
        .bind(self.job.partition.as_str())
        .bind(self.job.job.as_str())
        .bind(i64::try_from(self.after).unwrap_or(i64::MAX))
        .bind(i64::from(self.limit))
        .fetch_all(connection)
        .await?;
        rows.iter()
            .map(|row| {
                let failure = Failure {
                    id: row.try_get("failure_id")?,
                    time: Timestamp::from_millis(row.try_get("failure_time")?),
                    source: row.try_get("source")?,
                    message: row.try_get("message")?,
                };
                let place: i64 = row.try_get("place")?;
                Ok((place.unsigned_abs(), path_bytes::decode(row.try_get("task")?)?, failure))
            })
            .collect()
    }
}
