//! The rows of the table `outbox` as far as they follow their jobs. Rows are always locked in the order of their ids,
//! and after the rows of jobs.

use sqlx::PgConnection;

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
