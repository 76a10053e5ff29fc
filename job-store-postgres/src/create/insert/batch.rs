//! A batch of jobs.

use std::collections::BTreeSet;

use job_core::Timestamp;
use sqlx::PgConnection;

use super::{Beginning, NewRow};
use crate::create::locks;
use crate::job_rows::{CountChanges, count_jobs};
use crate::sort_key::SortKey;

/// The columns `$1` to `$27`, `$44` and `$50` of jobs, with the labels and edges of all of them. The locks of their ids come first.
const BATCH: &str = concat!(
    "WITH locked AS MATERIALIZED (
         SELECT count(*) AS ids FROM unnest($45::integer[]) AS k(lock)
         WHERE pg_advisory_xact_lock_shared($46, k.lock) IS NOT NULL
     ), counted AS (",
    count_jobs!("$47", "$48", "$49"),
    "), new AS MATERIALIZED (
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::integer[], $5::bigint[], $6::bytea[], $7::bytea[],
             $8::text[], $9::bytea[], $10::bytea[], $11::text[], $12::bytea[], $13::bytea[], $14::text[], $15::bytea[],
             $16::bytea[], $17::text[], $18::text[], $19::text[], $20::bigint[], $21::boolean[], $22::uuid[],
             $23::integer[], $24::text[], $25::text[], $26::text[], $27::bytea[], $44::smallint[], $50::text[])
         AS new(partition_id, job_id, job_no, unmet, delay_millis, fingerprint, id_key, name, name_key, name_rest,
             description, description_key, description_rest, external_data, external_data_key, external_data_rest,
             labels, job_type, correlation_id, due_at, suspended, task_id, api_version, classifier, queue, target,
             task_data, texts, prerequisites)
         WHERE (SELECT ids FROM locked) IS NOT NULL
     ), new_job AS (
         INSERT INTO job (partition_id, job_id, job_no, has_prerequisites, create_time, last_update_time,
             update_group, status, percentage, hundredths, percentage_group, failure_count, last_failure,
             has_progress_rows, subtasks_completed, subtasks_failed)
         SELECT partition_id, job_id, job_no, unmet > 0, $28, $28, $29, $30, $31, $32, $33, 0, 0, false, 0, 0 FROM new
     ), new_detail AS (
         INSERT INTO job_detail (partition_id, job_id, job_no, create_time, delay_millis, fingerprint, id_key,
             name, name_key, name_rest, description, description_key, description_rest, external_data,
             external_data_key, external_data_rest, texts, labels, job_type, correlation_id, task_id, api_version,
             classifier, queue, target, task_data, prerequisites)
         SELECT partition_id, job_id, job_no, $28, delay_millis, fingerprint, id_key, name, name_key, name_rest,
             description, description_key, description_rest, external_data, external_data_key, external_data_rest,
             texts, labels::jsonb, job_type, correlation_id, task_id, api_version, classifier, queue, target, task_data,
             prerequisites
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
     SELECT job_no, partition_id, job_no, job_id, due_at, delay_millis, unmet, 0, false, suspended, false FROM new"
);

pub(super) async fn insert(
    connection: &mut PgConnection,
    rows: &[NewRow<'_>],
    beginning: &Beginning,
) -> Result<(), sqlx::Error> {
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let mut counts = CountChanges::default();
    rows.iter().for_each(|row| counts.add(row.job.key(), beginning.status, 1));
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
    let ids: BTreeSet<i32> = rows.iter().map(|row| locks::of_job(row.job.key())).collect();
    let query = query
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
        .bind(ids.into_iter().collect::<Vec<_>>())
        .bind(locks::IDS);
    let query = counts.bind(query).bind(column!(row => row.prerequisites.as_deref()));
    query.execute(connection).await?;
    Ok(())
}
