//! The rows of the table `outbox` as far as they follow their jobs. Rows are always locked in the order of their ids,
//! and after the rows of jobs.

use std::collections::HashMap;

use job_core::Timestamp;
use sqlx::{PgConnection, Row};

use crate::job_rows::JobRow;

/// Every entry of these jobs: the one of the first message has the job's own number.
macro_rules! entries_of_jobs {
    ($numbers:literal, $partitions:literal) => {
        concat!(
            "ARRAY(SELECT o.id FROM outbox o WHERE o.id = ANY(ARRAY(
                 SELECT unnest(",
            $numbers,
            "::bigint[]) UNION ALL
                 SELECT s.id FROM outbox s
                 WHERE s.stowed AND s.partition_id = ANY(",
            $partitions,
            "::text[]) AND s.job_no = ANY(",
            $numbers,
            "::bigint[])
             )) ORDER BY o.id FOR UPDATE)"
        )
    };
}

/// Removes all entries of these jobs, whoever has them on lease.
pub(crate) async fn remove(
    connection: &mut PgConnection,
    partitions: &[&str],
    job_numbers: &[i64],
) -> Result<(), sqlx::Error> {
    if job_numbers.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!("DELETE FROM outbox WHERE id = ANY(", entries_of_jobs!("$1", "$2"), ")"))
        .bind(job_numbers)
        .bind(partitions)
        .execute(connection)
        .await?;
    Ok(())
}

/// Removes all entries of jobs that have finished. The tasks of those that can change no more go too where they take
/// space to speak of: what is small lies within the row of a job's details, and rewriting that would cost more than it
/// gains.
pub(crate) async fn finish(
    connection: &mut PgConnection,
    partitions: &[&str],
    finished: &[&JobRow],
) -> Result<(), sqlx::Error> {
    if finished.is_empty() {
        return Ok(());
    }
    let over = finished.iter().filter(|row| !row.state.status.accepts_reports());
    sqlx::query(concat!(
        "WITH freed AS (
             UPDATE job_detail SET task_id = NULL, task_data = NULL
             WHERE job_no = ANY($3) AND partition_id = ANY($2) AND octet_length(task_data) > 2000
         )
         DELETE FROM outbox WHERE id = ANY(",
        entries_of_jobs!("$1", "$2"),
        ")"
    ))
    .bind(finished.iter().map(|row| row.job_no).collect::<Vec<_>>())
    .bind(partitions)
    .bind(over.map(|row| row.job_no).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// What of their first messages is stored: per job, by number, whether it is in the outbox and whether its task is kept.
pub(crate) async fn first_messages(
    connection: &mut PgConnection,
    partitions: &[&str],
    job_numbers: &[i64],
) -> Result<HashMap<i64, (bool, bool)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT k.job_no, EXISTS (SELECT FROM outbox o WHERE o.id = k.job_no OFFSET 0), d.task_id IS NOT NULL
         FROM unnest($1::bigint[]) AS k(job_no)
         LEFT JOIN LATERAL (
             SELECT task_id FROM job_detail
             WHERE job_detail.job_no = k.job_no AND partition_id = ANY($2::text[]) OFFSET 0
         ) d ON true",
    )
    .bind(job_numbers)
    .bind(partitions)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, (row.try_get(1)?, row.try_get(2)?)))).collect()
}

/// Puts the first messages of these jobs into the outbox, due at `now`; whoever wrote their tasks numbered the entries
/// like the jobs. Who had such an entry on lease before it was removed has nothing to say about the new one, nor has who is taking
/// it at this moment.
pub(crate) async fn put_back(
    connection: &mut PgConnection,
    jobs: &[&JobRow],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if jobs.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "WITH version AS (
             UPDATE lease_version SET version = version + 1 WHERE is_only RETURNING version
         ), others AS (
             UPDATE lease SET entries = ARRAY(SELECT e.id FROM unnest(entries) AS e(id) WHERE e.id <> ALL($1) ORDER BY e.id)
             WHERE entries && $1 AND EXISTS (SELECT FROM version)
         )
         INSERT INTO outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held, suspended,
             stowed)
         SELECT k.job_no, k.partition_id, k.job_no, k.job_id, $5, d.delay_millis, 0, 0, k.held, false, false
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) AS k(job_no, partition_id, job_id, held)
         CROSS JOIN LATERAL (
             SELECT delay_millis FROM job_detail
             WHERE job_detail.job_no = k.job_no AND job_detail.partition_id = k.partition_id OFFSET 0
         ) d",
    )
    .bind(jobs.iter().map(|row| row.job_no).collect::<Vec<_>>())
    .bind(jobs.iter().map(|row| row.key.partition.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|row| row.key.job.as_str()).collect::<Vec<_>>())
    .bind(jobs.iter().map(|row| row.state.status.holds_messages()).collect::<Vec<_>>())
    .bind(now.as_millis())
    .execute(connection)
    .await?;
    Ok(())
}

/// Holds all entries of these jobs, or lets them go.
pub(crate) async fn hold(
    connection: &mut PgConnection,
    partitions: &[&str],
    job_numbers: &[i64],
    held: bool,
) -> Result<(), sqlx::Error> {
    if job_numbers.is_empty() {
        return Ok(());
    }
    sqlx::query(concat!("UPDATE outbox SET held = $3 WHERE id = ANY(", entries_of_jobs!("$1", "$2"), ")"))
        .bind(job_numbers)
        .bind(partitions)
        .bind(held)
        .execute(connection)
        .await?;
    Ok(())
}
