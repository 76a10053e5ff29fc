//! Removing jobs with everything about them. Jobs that wait for them go on waiting.

use std::collections::BTreeMap;

use job_core::JobKey;
use sqlx::{PgConnection, Row};

use crate::job_rows::{CountChanges, DamagedRow, JobRow};
use crate::status_code;
use crate::step::Trouble;
use crate::{dependents, outbox_rows, progress_writes, read};

/// What has to be known of a locked job to remove it, and what there may be of it elsewhere.
pub(crate) struct Leaving<'a> {
    key: &'a JobKey,
    job_no: i64,
    status: i16,
    has_prerequisites: bool,
    has_entries: bool,
    has_progress_rows: bool,
    has_failures: bool,
}

impl<'a> From<&'a JobRow> for Leaving<'a> {
    fn from(row: &'a JobRow) -> Self {
        Self {
            key: &row.key,
            job_no: row.job_no,
            status: status_code::code(row.before.status),
            has_prerequisites: row.has_prerequisites,
            has_entries: !row.state.status.is_finished(),
            has_progress_rows: row.has_progress_rows,
            has_failures: row.failure_count > 0,
        }
    }
}

/// There may be anything of a job that makes no sense.
impl<'a> From<&'a DamagedRow> for Leaving<'a> {
    fn from(row: &'a DamagedRow) -> Self {
        Self {
            key: &row.key,
            job_no: row.job_no,
            status: row.status,
            has_prerequisites: true,
            has_entries: true,
            has_progress_rows: true,
            has_failures: true,
        }
    }
}

/// Removes locked jobs, and counts them no more.
pub(crate) async fn remove(connection: &mut PgConnection, rows: &[Leaving<'_>]) -> Result<(), Trouble> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut partitions: Vec<&str> = rows.iter().map(|row| row.key.partition.as_str()).collect();
    partitions.sort_unstable();
    partitions.dedup();
    let numbers = |wanted: fn(&Leaving<'_>) -> bool| -> Vec<i64> {
        rows.iter().filter(|row| wanted(row)).map(|row| row.job_no).collect()
    };
    dependents::forget_prerequisites(connection, &partitions, &numbers(|row| row.has_prerequisites)).await?;
    outbox_rows::remove(connection, &partitions, &numbers(|row| row.has_entries)).await?;
    progress_writes::remove_all(connection, &partitions, &numbers(|row| row.has_progress_rows)).await?;
    remove_failures(connection, &partitions, &numbers(|row| row.has_failures)).await?;
    remove_details(connection, &partitions, &numbers(|_| true)).await?;
    sqlx::query(
        "DELETE FROM job WHERE ctid = ANY(ARRAY(
             SELECT j.ctid FROM unnest($1::text[], $2::text[]) AS k(partition_id, job_id)
             CROSS JOIN LATERAL (
                 SELECT ctid FROM job WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id OFFSET 0
             ) j))",
    )
    .bind(rows.iter().map(|row| row.key.partition.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.job.as_str()).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    let mut counts = CountChanges::default();
    rows.iter().for_each(|row| counts.add(row.key, row.status, -1));
    counts.write(connection).await?;
    Ok(())
}

async fn remove_failures(
    connection: &mut PgConnection,
    partitions: &[&str],
    numbers: &[i64],
) -> Result<(), sqlx::Error> {
    if !numbers.is_empty() {
        sqlx::query("DELETE FROM job_failure WHERE partition_id = ANY($1) AND job_no = ANY($2)")
            .bind(partitions)
            .bind(numbers)
            .execute(connection)
            .await?;
    }
    Ok(())
}

/// A job's labels say where its rows for finding it by label are.
async fn remove_details(
    connection: &mut PgConnection,
    partitions: &[&str],
    numbers: &[i64],
) -> Result<(), Trouble> {
    let details = sqlx::query(
        "DELETE FROM job_detail WHERE job_no = ANY($1) AND partition_id = ANY($2)
         RETURNING partition_id, job_no, create_time, labels::text",
    )
    .bind(numbers)
    .bind(partitions)
    .fetch_all(&mut *connection)
    .await?;
    let mut labels: BTreeMap<(&str, String, i64, i64), ()> = BTreeMap::new();
    for detail in &details {
        let (partition, job_no) = (detail.try_get(0)?, detail.try_get(1)?);
        match read::labels(detail.try_get(3)?) {
            Ok(of_job) => {
                let create_time = detail.try_get(2)?;
                labels.extend(of_job.into_keys().map(|key| ((partition, key, create_time, job_no), ())));
            }
            // Then the rows are looked for, which takes longer.
            Err(_) => {
                sqlx::query("DELETE FROM job_label WHERE partition_id = $1 AND job_no = $2")
                    .bind::<&str>(partition)
                    .bind::<i64>(job_no)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    if labels.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM job_label WHERE ctid = ANY(ARRAY(
             SELECT l.ctid FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
                 AS k(partition_id, label_key, create_time, job_no)
             CROSS JOIN LATERAL (
                 SELECT ctid FROM job_label
                 WHERE job_label.partition_id = k.partition_id AND job_label.label_key = k.label_key
                   AND job_label.create_time = k.create_time AND job_label.job_no = k.job_no OFFSET 0
             ) l))",
    )
    .bind(labels.keys().map(|(partition, ..)| *partition).collect::<Vec<_>>())
    .bind(labels.keys().map(|(_, key, ..)| key.as_str()).collect::<Vec<_>>())
    .bind(labels.keys().map(|(.., create_time, _)| *create_time).collect::<Vec<_>>())
    .bind(labels.keys().map(|(.., job_no)| *job_no).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
