//! A single job.

use job_core::{JobId, Timestamp};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::{Beginning, NewRow};
use crate::create::locks;
use crate::sort_key::SortKey;

/// A job in one statement. Every row is given as it is to be. What most jobs do not have is left out of the statement, since
/// even an insert of nothing opens a table and all its indexes. Rows come from nothing, or from the one row of a query that
/// says whether they are to be written at all.
macro_rules! insert_one {
    ($with:expr, $from:literal, $counted_from:literal $(, $more:expr)*) => {
        concat!(
            $with,
            "new_job AS (
                 INSERT INTO job (partition_id, job_id, job_no, has_prerequisites, create_time, last_update_time,
                     update_group, status, percentage, hundredths, percentage_group, failure_count, last_failure,
                     has_progress_rows, subtasks_completed, subtasks_failed)
                 SELECT $1, $2, $3, $4 > 0, $5, $5, $6, $7, $8, $9, $10, 0, 0, false, 0, 0",
            $from,
            "), new_detail AS (
                 INSERT INTO job_detail (partition_id, job_id, job_no, create_time, delay_millis, fingerprint, id_key,
                     name, name_key, name_rest, description, description_key, description_rest, external_data,
                     external_data_key, external_data_rest, texts, labels, job_type, correlation_id, task_id,
                     api_version, classifier, queue, target, task_data, prerequisites)
                 SELECT $1, $2, $3, $5, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $36,
                     $23::text::jsonb, $24, $25, $28, $29, $30, $31, $32, $33, $41",
            $from,
            "), new_entry AS (
                 INSERT INTO outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held,
                     suspended, stowed)
                 SELECT $3, $1, $3, $2, $26, $11, $4, 0, false, $27, false",
            $from,
            ")",
            $($more,)*
            "INSERT INTO job_count AS c (partition_id, status, shard, jobs)
             SELECT $1, $7, pg_backend_pid() & 63, 1",
            $counted_from,
            "ON CONFLICT (partition_id, status, shard) DO UPDATE SET jobs = c.jobs + 1"
        )
    };
}

macro_rules! labels {
    ($and:literal) => {
        concat!(
            ", new_label AS (
                 INSERT INTO job_label (partition_id, label_key, value_key, value_rest, job_id, job_no, create_time)
                 SELECT $1, k.label_key, k.value_key, k.value_rest, $2, $3, $5
                 FROM unnest($37::text[], $38::bytea[], $39::bytea[]) AS k(label_key, value_key, value_rest)",
            $and,
            ")"
        )
    };
}

macro_rules! edges {
    ($and:literal) => {
        concat!(
            ", new_edge AS (
                 INSERT INTO job_dependency (partition_id, prerequisite_id, dependent_id, dependent_no)
                 SELECT $1, prerequisite_id, $2, $3 FROM unnest($40::text[]) AS k(prerequisite_id)",
            $and,
            ")"
        )
    };
}

/// The lock of the id is held until the job is visible; see the module `create`.
macro_rules! always {
    ($($more:expr),*) => {
        insert_one!("WITH ", "", " FROM pg_advisory_xact_lock_shared($34, $35) " $(, $more)*)
    };
}

/// Only if nobody waits for the job, and those that it waits for are there and have the status that was seen; and they stay
/// so. What is looked at, and in which order, is said by the CASE: first the lock, as in a transaction that does the same.
macro_rules! if_unchanged {
    ($($more:expr),*) => {
        insert_one!(
            "WITH unchanged AS MATERIALIZED (
                 SELECT count(*) AS jobs FROM unnest($42::text[], $43::smallint[]) AS k(job_id, status)
                 CROSS JOIN LATERAL (
                     SELECT FROM job
                     WHERE job.partition_id = $1 AND job.job_id = k.job_id AND job.status = k.status FOR SHARE
                 ) j
             ), go AS MATERIALIZED (
                 SELECT 1 WHERE CASE WHEN pg_advisory_xact_lock_shared($34, $35) IS NOT NULL THEN
                     NOT job_is_waited_for($1, $2) AND (SELECT jobs FROM unchanged) = cardinality($42::text[])
                 END
             ), ",
            " FROM go",
            " FROM go "
            $(, $more)*
        )
    };
}

const PLAIN: &str = always!();
const LABELLED: &str = always!(labels!(""));
const DEPENDENT: &str = always!(edges!(""));
const LABELLED_AND_DEPENDENT: &str = always!(labels!(""), edges!(""));
const DEPENDENT_IF_UNCHANGED: &str = if_unchanged!(edges!(", go"));
const LABELLED_AND_DEPENDENT_IF_UNCHANGED: &str = if_unchanged!(labels!(", go"), edges!(", go"));

/// The statuses that some jobs of a partition had when it was decided what is to be stored.
#[derive(Debug, Default)]
pub(in crate::create) struct Seen<'a> {
    pub(in crate::create) ids: Vec<&'a str>,
    pub(in crate::create) statuses: Vec<i16>,
}

/// Stores a job whose prerequisites were `seen`, unless that has changed or somebody waits for it; whether it did.
pub(in crate::create) async fn insert_if_unchanged(
    connection: &mut PgConnection,
    row: &NewRow<'_>,
    now: Timestamp,
    seen: Seen<'_>,
) -> Result<bool, sqlx::Error> {
    let statement = match row.job.accepted.job.labels.is_empty() {
        true => DEPENDENT_IF_UNCHANGED,
        false => LABELLED_AND_DEPENDENT_IF_UNCHANGED,
    };
    let labels = label_rows(row);
    let query = bind_one(sqlx::query(statement), row, &labels, &Beginning::at(now));
    let done = query.bind(seen.ids).bind(seen.statuses).execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn insert(
    connection: &mut PgConnection,
    row: &NewRow<'_>,
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    let labels = label_rows(row);
    let statement = match (labels.is_empty(), row.unmet.is_empty()) {
        (true, true) => PLAIN,
        (false, true) => LABELLED,
        (true, false) => DEPENDENT,
        (false, false) => LABELLED_AND_DEPENDENT,
    };
    bind_one(sqlx::query(statement), row, &labels, beginning).execute(connection).await?;
    Ok(())
}

fn label_rows<'a>(row: &NewRow<'a>) -> Vec<(&'a str, SortKey)> {
    let labels = row.job.accepted.job.labels.iter();
    labels.map(|(key, value)| (key.as_str(), SortKey::of(value.as_deref()))).collect()
}

/// Binds the parameters `$1` to `$41` of [`insert_one!`].
fn bind_one<'q>(
    query: Query<'q, Postgres, PgArguments>,
    row: &'q NewRow<'_>,
    labels: &'q [(&str, SortKey)],
    beginning: &Beginning,
) -> Query<'q, Postgres, PgArguments> {
    let (accepted, new) = (&row.job.accepted, &row.job.accepted.job);
    let [(name, name_key), (description, description_key), (external_data, external_data_key)] = row.texts();
    query
        .bind(new.key.partition.as_str())
        .bind(new.key.job.as_str())
        .bind(row.job.number)
        .bind(row.unmet())
        .bind(beginning.now)
        .bind(beginning.update_group)
        .bind(beginning.status)
        .bind(beginning.percentage)
        .bind(beginning.hundredths)
        .bind(beginning.percentage_group)
        .bind(row.delay_millis())
        .bind(accepted.fingerprint.as_bytes().as_slice())
        .bind(row.id_key())
        .bind(name)
        .bind(name_key.key)
        .bind(name_key.rest)
        .bind(description)
        .bind(description_key.key)
        .bind(description_key.rest)
        .bind(external_data)
        .bind(external_data_key.key)
        .bind(external_data_key.rest)
        .bind(row.labels.as_deref())
        .bind(new.job_type.as_deref())
        .bind(new.correlation_id.as_deref())
        .bind(row.due.map(Timestamp::as_millis))
        .bind(accepted.suspended)
        .bind(accepted.task_id)
        .bind(new.task.api_version)
        .bind(new.task.classifier.as_str())
        .bind(new.task.queue.as_str())
        .bind(new.task.target.as_deref())
        .bind(new.task.data.as_ref())
        .bind(locks::IDS)
        .bind(locks::of_job(&new.key))
        .bind(row.which_texts())
        .bind(labels.iter().map(|(key, _)| *key).collect::<Vec<_>>())
        .bind(labels.iter().map(|(_, value)| value.key.as_slice()).collect::<Vec<_>>())
        .bind(labels.iter().map(|(_, value)| value.rest.as_deref()).collect::<Vec<_>>())
        .bind(row.unmet.iter().map(JobId::as_str).collect::<Vec<_>>())
        .bind(row.prerequisites.as_deref())
}
