//! Reading jobs by key: one statement, whatever belongs to them.

use std::time::Duration;

use async_trait::async_trait;
use job_core::progress::Percentage;
use job_core::{
    Blocker, DispatchProblem, Error, ErrorKind, FAILURES_SHOWN_MAX, Failure, Job, JobId, JobKey, JobStatus,
    Labels, Result, Timestamp,
};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::job_rows;
use crate::status_code;
use crate::step::{Form, Step, Trouble};

const _: () = assert!(FAILURES_SHOWN_MAX == 100, "the limit in the statement below is written out");

/// These columns of `k`, and those that [`job`] reads, for every row of `j`. What most jobs do not have is looked for only where a column of
/// `job` says that there may be some.
macro_rules! select_jobs {
    ($columns:literal, $($from:expr),+) => {
        concat!(
            "SELECT ", $columns, ", j.*, d.*, f.*, b.*, o.* FROM ", $($from),+, "
             CROSS JOIN LATERAL (
                 SELECT partition_id, job_id, job_no, create_time, last_update_time, start_time, finish_time,
                        percentage, failure_count, status, has_prerequisites, subtasks_total, subtasks_completed,
                        subtasks_failed
                 FROM job WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id OFFSET 0
             ) j
             CROSS JOIN LATERAL (
                 SELECT name, description, external_data, labels::text AS labels, prerequisites,
                        delay_millis, job_type, correlation_id
                 FROM job_detail WHERE job_detail.job_no = j.job_no AND job_detail.partition_id = j.partition_id
                 OFFSET 0
             ) d
             CROSS JOIN LATERAL (
                 SELECT array_agg(failure_id ORDER BY place) AS failure_ids,
                        array_agg(failure_time ORDER BY place) AS failure_times,
                        array_agg(source ORDER BY place) AS failure_sources,
                        array_agg(message ORDER BY place) AS failure_messages
                 FROM (
                     SELECT place, failure_id, failure_time, source, message FROM job_failure
                     WHERE j.failure_count > 0 AND job_failure.partition_id = j.partition_id
                       AND job_failure.job_no = j.job_no
                     ORDER BY place LIMIT 100
                 ) first_failures
             ) f
             CROSS JOIN LATERAL (
                 SELECT array_agg(e.prerequisite_id ORDER BY e.prerequisite_id) AS blocker_ids,
                        array_agg(p.status ORDER BY e.prerequisite_id) AS blocker_statuses
                 FROM job_dependency e
                 LEFT JOIN LATERAL (
                     SELECT status FROM job
                     WHERE job.partition_id = e.partition_id AND job.job_id = e.prerequisite_id OFFSET 0
                 ) p ON true
                 WHERE j.has_prerequisites AND j.finish_time IS NULL AND e.partition_id = j.partition_id
                   AND e.dependent_no = j.job_no
             ) b
             LEFT JOIN LATERAL (
                 SELECT attempts, reason, retry_at,
                        bool_or(suspended) OVER () OR EXISTS (
                            SELECT FROM suspended_partition s WHERE s.partition_id = j.partition_id
                        ) AS suspended
                 FROM (
                     SELECT id, attempts, reason, retry_at, suspended FROM outbox
                     WHERE j.finish_time IS NULL AND outbox.id = j.job_no
                     UNION ALL
                     SELECT id, attempts, reason, retry_at, suspended FROM outbox
                     WHERE j.finish_time IS NULL AND stowed AND outbox.partition_id = j.partition_id
                       AND outbox.job_no = j.job_no
                 ) entries
                 ORDER BY reason IS NULL, id LIMIT 1
             ) o ON true"
        )
    };
}

pub(crate) use select_jobs;

/// Reads a row of [`select_jobs`].
pub(crate) fn job(row: &PgRow) -> Result<Job, Trouble> {
    let key = JobKey::parse(row.try_get::<&str, _>("partition_id")?, row.try_get::<&str, _>("job_id")?)
        .map_err(|error| Error::new(ErrorKind::Corrupt, error.to_string()))?;
    let time = |name: &str| row.try_get::<i64, _>(name).map(Timestamp::from_millis);
    let time_or_none =
        |name: &str| row.try_get::<Option<i64>, _>(name).map(|time| time.map(Timestamp::from_millis));
    Ok(Job {
        key,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        external_data: row.try_get("external_data")?,
        create_time: time("create_time")?,
        last_update_time: time("last_update_time")?,
        status: status_code::status(row.try_get("status")?)?,
        percentage: Percentage::from_steps(row.try_get::<i64, _>("percentage")?.unsigned_abs()),
        failures: failures(row)?,
        failure_count: row.try_get::<i64, _>("failure_count")?.unsigned_abs(),
        labels: labels(row.try_get("labels")?)?,
        subtasks: job_rows::subtasks(row)?,
        prerequisites: prerequisites(row.try_get("prerequisites")?)?,
        blocked_by: blockers(row)?,
        dispatch_problem: dispatch_problem(row)?,
        suspended: row.try_get::<Option<bool>, _>("suspended")?.unwrap_or_default(),
        start_time: time_or_none("start_time")?,
        finish_time: time_or_none("finish_time")?,
        delay: Duration::from_millis(row.try_get::<i64, _>("delay_millis")?.unsigned_abs()),
        job_type: row.try_get("job_type")?,
        correlation_id: row.try_get("correlation_id")?,
    })
}

/// An id on the way to its job; one that no job can have is passed over.
pub(crate) fn id(id: &str) -> Option<JobId> {
    JobId::new(id)
        .inspect_err(
            |error| tracing::error!(job.id = id, %error, "a job with an impossible id is passed over"),
        )
        .ok()
}

/// As [`id`], for a job of any partition.
pub(crate) fn key(partition: &str, id: &str) -> Option<JobKey> {
    JobKey::parse(partition, id)
        .inspect_err(|error| {
            tracing::error!(job.partition = partition, job.id = id, %error, "a job with an impossible key is passed over");
        })
        .ok()
}

pub(crate) fn labels(json: Option<&str>) -> Result<Labels, Error> {
    json.map_or_else(|| Ok(Labels::new()), serde_json::from_str)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "stored labels make no sense").with_source(error))
}

fn prerequisites(json: Option<&str>) -> Result<Vec<JobId>, Error> {
    let wrong = || Error::new(ErrorKind::Corrupt, "stored prerequisites make no sense");
    let ids: Vec<String> = match json {
        None => return Ok(Vec::new()),
        Some(json) => serde_json::from_str(json).map_err(|error| wrong().with_source(error))?,
    };
    ids.into_iter().map(|id| JobId::new(id).map_err(|error| wrong().with_source(error))).collect()
}

fn failures(row: &PgRow) -> Result<Vec<Failure>, sqlx::Error> {
    let Some(ids) = row.try_get::<Option<Vec<String>>, _>("failure_ids")? else { return Ok(Vec::new()) };
    let times: Vec<i64> = row.try_get("failure_times")?;
    let sources: Vec<String> = row.try_get("failure_sources")?;
    let messages: Vec<String> = row.try_get("failure_messages")?;
    let failures = ids.into_iter().zip(times).zip(sources).zip(messages);
    Ok(failures
        .map(|(((id, time), source), message)| Failure {
            id,
            time: Timestamp::from_millis(time),
            source,
            message,
        })
        .collect())
}

fn blockers(row: &PgRow) -> Result<Vec<Blocker>, Trouble> {
    let Some(ids) = row.try_get::<Option<Vec<String>>, _>("blocker_ids")? else { return Ok(Vec::new()) };
    let statuses: Vec<Option<i16>> = row.try_get("blocker_statuses")?;
    ids.into_iter()
        .zip(statuses)
        .map(|(id, status)| {
            let job = JobId::new(id).map_err(|error| Error::new(ErrorKind::Corrupt, error.to_string()))?;
            Ok(Blocker { job, status: status.map(status_code::status).transpose()? })
        })
        .collect()
}

fn dispatch_problem(row: &PgRow) -> Result<Option<DispatchProblem>, sqlx::Error> {
    let Some(reason) = row.try_get::<Option<String>, _>("reason")? else { return Ok(None) };
    let retry_at = row.try_get::<Option<i64>, _>("retry_at")?.unwrap_or_default();
    Ok(Some(DispatchProblem {
        attempts: row.try_get::<i32, _>("attempts")?.unsigned_abs(),
        reason,
        retry_at: Timestamp::from_millis(retry_at),
    }))
}

fn columns(keys: &[JobKey]) -> (Vec<&str>, Vec<&str>) {
    (
        keys.iter().map(|key| key.partition.as_str()).collect(),
        keys.iter().map(|key| key.job.as_str()).collect(),
    )
}

macro_rules! keys_by_place {
    () => {
        "unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(partition_id, job_id, place)"
    };
}

/// Where in the answers a row belongs.
fn place(row: &PgRow) -> Result<usize, sqlx::Error> {
    row.try_get::<i64, _>("place").map(|place| place as usize - 1)
}

pub(crate) struct Get<'a>(pub(crate) &'a [JobKey]);

#[async_trait]
impl Step for Get<'_> {
    type Output = Vec<Option<Job>>;
    const NAME: &'static str = "store::get";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let (partitions, ids) = columns(self.0);
        let rows = sqlx::query(select_jobs!("k.place", keys_by_place!()))
            .bind(partitions)
            .bind(ids)
            .fetch_all(connection)
            .await?;
        let mut jobs = vec![None; self.0.len()];
        for row in rows {
            jobs[place(&row)?] = Some(job(&row)?);
        }
        Ok(jobs)
    }
}

pub(crate) struct Statuses<'a>(pub(crate) &'a [JobKey]);

#[async_trait]
impl Step for Statuses<'_> {
    type Output = Vec<Option<JobStatus>>;
    const NAME: &'static str = "store::statuses";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Self::Output, Trouble> {
        let (partitions, ids) = columns(self.0);
        let rows = sqlx::query(concat!(
            "SELECT k.place, j.status FROM ",
            keys_by_place!(),
            " CROSS JOIN LATERAL (
                SELECT status FROM job WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id OFFSET 0
            ) j"
        ))
        .bind(partitions)
        .bind(ids)
        .fetch_all(connection)
        .await?;
        let mut statuses = vec![None; self.0.len()];
        for row in rows {
            statuses[place(&row)?] = Some(status_code::status(row.try_get("status")?)?);
        }
        Ok(statuses)
    }
}
