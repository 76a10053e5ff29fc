//! Writing new jobs with everything about them.
//!
//! A single job is one statement. A batch is copied into one table after the other: `COPY` costs a fraction of rows
//! that come as parameters, on both sides.

use job_core::dependency::due;
use job_core::recording::JobState;
use job_core::{JobId, Timestamp};
use sqlx::PgConnection;

use super::copy::Copy;
use super::{Numbered, locks};
use crate::job_rows::{CountChanges, percentage_group, update_group};
use crate::sort_key::SortKey;
use crate::status_code;

/// A job that is to be stored.
pub(super) struct NewRow<'a> {
    pub(super) job: &'a Numbered,
    unmet: Vec<JobId>,
    due: Option<Timestamp>,
    labels: Option<String>,
}

impl<'a> NewRow<'a> {
    pub(super) fn new(job: &'a Numbered, unmet: Vec<JobId>, now: Timestamp) -> Self {
        let new = &job.accepted.job;
        let due = due(unmet.len(), new.delay, now);
        let labels = (!new.labels.is_empty())
            .then(|| serde_json::to_string(&new.labels).expect("a map with keys of text is JSON"));
        Self { job, unmet, due, labels }
    }

    fn delay_millis(&self) -> i64 {
        i64::try_from(self.job.accepted.job.delay.as_millis()).unwrap_or(i64::MAX)
    }

    fn unmet(&self) -> i32 {
        i32::try_from(self.unmet.len()).unwrap_or(i32::MAX)
    }

    fn texts(&self) -> [(Option<&str>, SortKey); 3] {
        let new = &self.job.accepted.job;
        [&new.name, &new.description, &new.external_data]
            .map(|text| (text.as_deref(), SortKey::of(text.as_deref())))
    }

    fn id_key(&self) -> Vec<u8> {
        SortKey::of(Some(self.job.key().job.as_str())).key
    }
}

/// What every new job has in common.
struct Beginning {
    now: i64,
    update_group: i64,
    status: i16,
    percentage: i64,
    hundredths: i16,
    percentage_group: i16,
}

impl Beginning {
    fn at(now: Timestamp) -> Self {
        let state = JobState::created(now);
        let hundredths = state.percentage.hundredths();
        Self {
            now: now.as_millis(),
            update_group: update_group(now),
            status: status_code::code(state.status),
            percentage: state.percentage.steps() as i64,
            hundredths: hundredths as i16,
            percentage_group: percentage_group(hundredths),
        }
    }
}

/// Fails with a unique violation when one of the jobs exists already. `rows` are in the order of their keys, so that two
/// batches with the same ids wait for each other in one order. Several rows need a transaction that has their locks.
pub(super) async fn insert(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if let [row] = rows {
        return insert_one(connection, row, &Beginning::at(now)).await;
    }
    let beginning = Beginning::at(now);
    copy_jobs(connection, rows, &beginning).await?;
    copy_details(connection, rows, &beginning).await?;
    copy_labels(connection, rows, &beginning).await?;
    copy_edges(connection, rows).await?;
    copy_entries(connection, rows).await?;
    let mut counts = CountChanges::default();
    rows.iter().for_each(|row| counts.add(row.job.key(), beginning.status, 1));
    counts.write(connection).await
}

/// A job in one statement. Nothing in it reads: every row is given as it is to be. What most jobs do not have is left
/// out of the statement, since even an insert of nothing opens a table and all its indexes.
macro_rules! insert_one {
    ($($more:literal)?) => {
        concat!(
            "WITH new_job AS (
                 INSERT INTO job (partition_id, job_id, job_no, has_prerequisites, create_time, last_update_time,
                     update_group, status, percentage, hundredths, percentage_group, failure_count, last_failure,
                     has_progress_rows, subtasks_completed, subtasks_failed)
                 VALUES ($1, $2, $3, $4 > 0, $5, $5, $6, $7, $8, $9, $10, 0, 0, false, 0, 0)
             ), new_detail AS (
                 INSERT INTO job_detail (partition_id, job_id, job_no, create_time, delay_millis, fingerprint, id_key,
                     name, name_key, name_rest, description, description_key, description_rest, external_data,
                     external_data_key, external_data_rest, labels, job_type, correlation_id, task_id, api_version,
                     classifier, queue, target, task_data)
                 VALUES ($1, $2, $3, $5, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23::text::jsonb,
                     $24, $25, $28, $29, $30, $31, $32, $33)
             ), new_entry AS (
                 INSERT INTO outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held,
                     suspended, stowed)
                 VALUES ($3, $1, $3, $2, $26, $11, $4, 0, false, $27, false)
             )",
            $($more,)?
            // The lock of the id is held until the job is visible; see the module `create`.
            "INSERT INTO job_count AS c (partition_id, status, shard, jobs)
             SELECT $1, $7, pg_backend_pid() & 63, 1 FROM pg_advisory_xact_lock_shared($34, $35)
             ON CONFLICT (partition_id, status, shard) DO UPDATE SET jobs = c.jobs + 1"
        )
    };
}

const PLAIN: &str = insert_one!();
const LABELLED: &str = insert_one!(
    ", new_label AS (
         INSERT INTO job_label (partition_id, label_key, value_key, value_rest, job_id, job_no, create_time)
         SELECT $1, k.label_key, k.value_key, k.value_rest, $2, $3, $5
         FROM unnest($36::text[], $37::bytea[], $38::bytea[]) AS k(label_key, value_key, value_rest)
     )"
);
const DEPENDENT: &str = insert_one!(
    ", new_edge AS (
         INSERT INTO job_dependency (partition_id, prerequisite_id, dependent_id, dependent_no)
         SELECT $1, prerequisite_id, $2, $3 FROM unnest($39::text[]) AS k(prerequisite_id)
     )"
);
const LABELLED_AND_DEPENDENT: &str = insert_one!(
    ", new_label AS (
         INSERT INTO job_label (partition_id, label_key, value_key, value_rest, job_id, job_no, create_time)
         SELECT $1, k.label_key, k.value_key, k.value_rest, $2, $3, $5
         FROM unnest($36::text[], $37::bytea[], $38::bytea[]) AS k(label_key, value_key, value_rest)
     ), new_edge AS (
         INSERT INTO job_dependency (partition_id, prerequisite_id, dependent_id, dependent_no)
         SELECT $1, prerequisite_id, $2, $3 FROM unnest($39::text[]) AS k(prerequisite_id)
     )"
);

async fn insert_one(
    connection: &mut PgConnection,
    row: &NewRow<'_>,
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    let (accepted, new) = (&row.job.accepted, &row.job.accepted.job);
    let [(name, name_key), (description, description_key), (external_data, external_data_key)] = row.texts();
    let labels: Vec<(&str, SortKey)> =
        new.labels.iter().map(|(key, value)| (key.as_str(), SortKey::of(value.as_deref()))).collect();
    let statement = match (labels.is_empty(), row.unmet.is_empty()) {
        (true, true) => PLAIN,
        (false, true) => LABELLED,
        (true, false) => DEPENDENT,
        (false, false) => LABELLED_AND_DEPENDENT,
    };
    sqlx::query(statement)
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
        .bind(labels.iter().map(|(key, _)| *key).collect::<Vec<_>>())
        .bind(labels.iter().map(|(_, value)| value.key.as_slice()).collect::<Vec<_>>())
        .bind(labels.iter().map(|(_, value)| value.rest.as_deref()).collect::<Vec<_>>())
        .bind(row.unmet.iter().map(JobId::as_str).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn copy_jobs(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    let mut copy = Copy::new();
    for row in rows {
        copy.row(16);
        copy.text(row.job.key().partition.as_str());
        copy.text(row.job.key().job.as_str());
        copy.bigint(row.job.number);
        copy.boolean(!row.unmet.is_empty());
        copy.bigint(beginning.now);
        copy.bigint(beginning.now);
        copy.bigint(beginning.update_group);
        copy.smallint(beginning.status);
        copy.bigint(beginning.percentage);
        copy.smallint(beginning.hundredths);
        copy.smallint(beginning.percentage_group);
        copy.bigint(0);
        copy.bigint(0);
        copy.boolean(false);
        copy.integer(0);
        copy.integer(0);
    }
    copy.send(
        connection,
        "COPY job (partition_id, job_id, job_no, has_prerequisites, create_time, last_update_time, update_group,
             status, percentage, hundredths, percentage_group, failure_count, last_failure, has_progress_rows,
             subtasks_completed, subtasks_failed) FROM STDIN (FORMAT binary)",
    )
    .await
}

async fn copy_details(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    let mut copy = Copy::new();
    for row in rows {
        let new = &row.job.accepted.job;
        copy.row(25);
        copy.text(new.key.partition.as_str());
        copy.text(new.key.job.as_str());
        copy.bigint(row.job.number);
        copy.bigint(beginning.now);
        copy.bigint(row.delay_millis());
        copy.bytes(row.job.accepted.fingerprint.as_bytes());
        copy.bytes(&row.id_key());
        for (text, key) in row.texts() {
            copy.nullable(text, Copy::text);
            copy.bytes(&key.key);
            copy.nullable(key.rest.as_deref(), Copy::bytes);
        }
        copy.nullable(row.labels.as_deref(), Copy::jsonb);
        copy.nullable(new.job_type.as_deref(), Copy::text);
        copy.nullable(new.correlation_id.as_deref(), Copy::text);
        copy.bytes(row.job.accepted.task_id.as_bytes());
        copy.integer(new.task.api_version);
        copy.text(&new.task.classifier);
        copy.text(&new.task.queue);
        copy.nullable(new.task.target.as_deref(), Copy::text);
        copy.bytes(&new.task.data);
    }
    copy.send(
        connection,
        "COPY job_detail (partition_id, job_id, job_no, create_time, delay_millis, fingerprint, id_key, name,
             name_key, name_rest, description, description_key, description_rest, external_data, external_data_key,
             external_data_rest, labels, job_type, correlation_id, task_id, api_version, classifier, queue, target,
             task_data) FROM STDIN (FORMAT binary)",
    )
    .await
}

async fn copy_labels(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    let mut copy = Copy::new();
    for row in rows {
        for (key, value) in &row.job.accepted.job.labels {
            let value = SortKey::of(value.as_deref());
            copy.row(7);
            copy.text(row.job.key().partition.as_str());
            copy.text(key);
            copy.bytes(&value.key);
            copy.nullable(value.rest.as_deref(), Copy::bytes);
            copy.text(row.job.key().job.as_str());
            copy.bigint(beginning.now);
            copy.bigint(row.job.number);
        }
    }
    copy.send(
        connection,
        "COPY job_label (partition_id, label_key, value_key, value_rest, job_id, create_time, job_no)
             FROM STDIN (FORMAT binary)",
    )
    .await
}

async fn copy_edges(connection: &mut PgConnection, rows: &[NewRow<'_>]) -> Result<(), sqlx::Error> {
    let mut copy = Copy::new();
    for row in rows {
        for prerequisite in &row.unmet {
            copy.row(4);
            copy.text(row.job.key().partition.as_str());
            copy.text(prerequisite.as_str());
            copy.text(row.job.key().job.as_str());
            copy.bigint(row.job.number);
        }
    }
    copy.send(
        connection,
        "COPY job_dependency (partition_id, prerequisite_id, dependent_id, dependent_no)
             FROM STDIN (FORMAT binary)",
    )
    .await
}

async fn copy_entries(connection: &mut PgConnection, rows: &[NewRow<'_>]) -> Result<(), sqlx::Error> {
    let mut copy = Copy::new();
    for row in rows {
        let key = row.job.key();
        copy.row(11);
        copy.bigint(row.job.number);
        copy.text(key.partition.as_str());
        copy.bigint(row.job.number);
        copy.text(key.job.as_str());
        copy.nullable(row.due.map(Timestamp::as_millis), Copy::bigint);
        copy.bigint(row.delay_millis());
        copy.integer(row.unmet());
        copy.integer(0);
        copy.boolean(false);
        copy.boolean(row.job.accepted.suspended);
        copy.boolean(false);
    }
    copy.send(
        connection,
        "COPY outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held, suspended,
             stowed) FROM STDIN (FORMAT binary)",
    )
    .await
}
