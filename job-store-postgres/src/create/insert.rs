//! Writing new jobs with everything about them.
//!
//! A single job is one statement, and so is a batch of a thousand, whose rows come as arrays. `COPY` would cost the server less
//! for each row, but the driver sends its data and its end apart and leaves Nagle's algorithm on, so that every table
//! waits 40 ms for a delayed acknowledgement.

use job_core::dependency::due;
use job_core::recording::JobState;
use job_core::{JobId, Timestamp};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres};

use super::{Numbered, locks};
use crate::job_rows::{CountChanges, percentage_group, update_group};
use crate::sort_key::SortKey;
use crate::status_code;

/// Most rows of a statement.
const BATCH_ROWS_MAX: usize = 1_000;
/// Most bytes of task data in a statement, unless a single job has more.
const BATCH_BYTES_MAX: usize = 16 << 20;

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
        [0, 1, 2].map(|place| self.text(place))
    }

    /// The name, the description or the external data.
    fn text(&self, place: usize) -> (Option<&str>, SortKey) {
        let new = &self.job.accepted.job;
        let text = [&new.name, &new.description, &new.external_data][place].as_deref();
        (text, SortKey::of(text))
    }

    /// Which of the texts there are, as a sum of 1, 2 and 4.
    fn which_texts(&self) -> i16 {
        let new = &self.job.accepted.job;
        let texts = [&new.name, &new.description, &new.external_data];
        texts.into_iter().zip([1, 2, 4]).filter(|(text, _)| text.is_some()).map(|(_, bit)| bit).sum()
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
    let mut rest = rows;
    while !rest.is_empty() {
        let (batch, others) = rest.split_at(batch_length(rest));
        insert_batch(connection, batch, &beginning).await?;
        rest = others;
    }
    let mut counts = CountChanges::default();
    rows.iter().for_each(|row| counts.add(row.job.key(), beginning.status, 1));
    counts.write(connection).await
}

/// How many of the rows fit into one statement; at least one.
fn batch_length(rows: &[NewRow<'_>]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&NewRow<'_>| {
        bytes += row.job.accepted.job.task.data.len();
        bytes <= BATCH_BYTES_MAX
    };
    rows.iter().take(BATCH_ROWS_MAX).take_while(fits).count().max(1)
}

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
                     api_version, classifier, queue, target, task_data)
                 SELECT $1, $2, $3, $5, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $36,
                     $23::text::jsonb, $24, $25, $28, $29, $30, $31, $32, $33",
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
                 SELECT count(*) AS jobs FROM unnest($41::text[], $42::smallint[]) AS k(job_id, status)
                 CROSS JOIN LATERAL (
                     SELECT FROM job
                     WHERE job.partition_id = $1 AND job.job_id = k.job_id AND job.status = k.status FOR SHARE
                 ) j
             ), go AS MATERIALIZED (
                 SELECT 1 WHERE CASE WHEN pg_advisory_xact_lock_shared($34, $35) IS NOT NULL THEN
                     NOT job_is_waited_for($1, $2) AND (SELECT jobs FROM unchanged) = cardinality($41::text[])
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
pub(super) struct Seen<'a> {
    pub(super) ids: Vec<&'a str>,
    pub(super) statuses: Vec<i16>,
}

/// Stores a job whose prerequisites were `seen`, unless that has changed or somebody waits for it; whether it did.
pub(super) async fn insert_if_unchanged(
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

async fn insert_one(
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

/// Binds the parameters `$1` to `$40` of [`insert_one!`].
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
}

/// The columns `$1` to `$27` and `$44` of jobs, with the labels and edges of all of them.
const BATCH: &str = "WITH new AS MATERIALIZED (
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::bigint[], $6::bytea[], $7::bytea[],
             $8::text[], $9::bytea[], $10::bytea[], $11::text[], $12::bytea[], $13::bytea[], $14::text[], $15::bytea[],
             $16::bytea[], $17::text[], $18::text[], $19::text[], $20::bigint[], $21::boolean[], $22::uuid[],
             $23::integer[], $24::text[], $25::text[], $26::text[], $27::bytea[], $44::smallint[])
         AS new(partition_id, job_id, job_no, unmet, delay_millis, fingerprint, id_key, name, name_key, name_rest,
             description, description_key, description_rest, external_data, external_data_key, external_data_rest,
             labels, job_type, correlation_id, due_at, suspended, task_id, api_version, classifier, queue, target,
             task_data, texts)
     ), new_job AS (
         INSERT INTO job (partition_id, job_id, job_no, has_prerequisites, create_time, last_update_time,
             update_group, status, percentage, hundredths, percentage_group, failure_count, last_failure,
             has_progress_rows, subtasks_completed, subtasks_failed)
         SELECT partition_id, job_id, job_no, unmet > 0, $28, $28, $29, $30, $31, $32, $33, 0, 0, false, 0, 0 FROM new
     ), new_detail AS (
         INSERT INTO job_detail (partition_id, job_id, job_no, create_time, delay_millis, fingerprint, id_key,
             name, name_key, name_rest, description, description_key, description_rest, external_data,
             external_data_key, external_data_rest, texts, labels, job_type, correlation_id, task_id, api_version,
             classifier, queue, target, task_data)
         SELECT partition_id, job_id, job_no, $28, delay_millis, fingerprint, id_key, name, name_key, name_rest,
             description, description_key, description_rest, external_data, external_data_key, external_data_rest,
             texts, labels::jsonb, job_type, correlation_id, task_id, api_version, classifier, queue, target, task_data
         FROM new
     ), new_label AS (
         INSERT INTO job_label (partition_id, label_key, value_key, value_rest, job_id, job_no, create_time)
         SELECT partition_id, label_key, value_key, value_rest, job_id, job_no, $28
         FROM unnest($34::text[], $35::text[], $36::bigint[], $37::text[], $38::bytea[], $39::bytea[])
             AS k(partition_id, job_id, job_no, label_key, value_key, value_rest)
     ), new_edge AS (
         INSERT INTO job_dependency (partition_id, prerequisite_id, dependent_id, dependent_no)
         SELECT * FROM unnest($40::text[], $41::text[], $42::text[], $43::bigint[])
     )
     INSERT INTO outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held, suspended, stowed)
     SELECT job_no, partition_id, job_no, job_id, due_at, delay_millis, unmet, 0, false, suspended, false FROM new";

async fn insert_batch(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let mut query = sqlx::query(BATCH)
        .bind(column!(row => row.job.key().partition.as_str()))
        .bind(column!(row => row.job.key().job.as_str()))
        .bind(column!(row => row.job.number))
        .bind(column!(row => row.unmet()))
        .bind(column!(row => row.delay_millis()))
        .bind(column!(row => row.job.accepted.fingerprint.as_bytes().as_slice()))
        .bind(column!(row => row.id_key()));
    for text in 0..3 {
        let (texts, keys): (Vec<Option<&str>>, Vec<SortKey>) = rows.iter().map(|row| row.text(text)).unzip();
        let (keys, rests): (Vec<Vec<u8>>, Vec<Option<Vec<u8>>>) =
            keys.into_iter().map(|key| (key.key, key.rest)).unzip();
        query = query.bind(texts).bind(keys).bind(rests);
    }
    let labels: Vec<(&NewRow<'_>, &str, SortKey)> = rows
        .iter()
        .flat_map(|row| {
            let labels = row.job.accepted.job.labels.iter();
            labels.map(move |(key, value)| (row, key.as_str(), SortKey::of(value.as_deref())))
        })
        .collect();
    let edges: Vec<(&NewRow<'_>, &str)> =
        rows.iter().flat_map(|row| row.unmet.iter().map(move |id| (row, id.as_str()))).collect();
    query
        .bind(column!(row => row.labels.as_deref()))
        .bind(column!(row => row.job.accepted.job.job_type.as_deref()))
        .bind(column!(row => row.job.accepted.job.correlation_id.as_deref()))
        .bind(column!(row => row.due.map(Timestamp::as_millis)))
        .bind(column!(row => row.job.accepted.suspended))
        .bind(column!(row => row.job.accepted.task_id))
        .bind(column!(row => row.job.accepted.job.task.api_version))
        .bind(column!(row => row.job.accepted.job.task.classifier.as_str()))
        .bind(column!(row => row.job.accepted.job.task.queue.as_str()))
        .bind(column!(row => row.job.accepted.job.task.target.as_deref()))
        .bind(column!(row => row.job.accepted.job.task.data.as_ref()))
        .bind(beginning.now)
        .bind(beginning.update_group)
        .bind(beginning.status)
        .bind(beginning.percentage)
        .bind(beginning.hundredths)
        .bind(beginning.percentage_group)
        .bind(labels.iter().map(|(row, ..)| row.job.key().partition.as_str()).collect::<Vec<_>>())
        .bind(labels.iter().map(|(row, ..)| row.job.key().job.as_str()).collect::<Vec<_>>())
        .bind(labels.iter().map(|(row, ..)| row.job.number).collect::<Vec<_>>())
        .bind(labels.iter().map(|(_, key, _)| *key).collect::<Vec<_>>())
        .bind(labels.iter().map(|(.., value)| value.key.as_slice()).collect::<Vec<_>>())
        .bind(labels.iter().map(|(.., value)| value.rest.as_deref()).collect::<Vec<_>>())
        .bind(edges.iter().map(|(row, _)| row.job.key().partition.as_str()).collect::<Vec<_>>())
        .bind(edges.iter().map(|(_, prerequisite)| *prerequisite).collect::<Vec<_>>())
        .bind(edges.iter().map(|(row, _)| row.job.key().job.as_str()).collect::<Vec<_>>())
        .bind(edges.iter().map(|(row, _)| row.job.number).collect::<Vec<_>>())
        .bind(column!(row => row.which_texts()))
        .execute(connection)
        .await?;
    Ok(())
}
