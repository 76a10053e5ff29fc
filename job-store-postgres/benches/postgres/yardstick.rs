//! The cheapest thing that could be done at all, on the same server, committed the same way.

use std::time::Duration;

use sqlx::{PgPool, Row};

use crate::setup::{Fresh, timed};

pub(crate) async fn prepare(fresh: &Fresh) {
    for sql in [
        "CREATE TABLE IF NOT EXISTS bare_completion
             (partition_id text, job_id text, task_id text, reported_at bigint)",
        "CREATE TABLE IF NOT EXISTS bare_job
             (partition_id text, job_id text, body text, PRIMARY KEY (partition_id, job_id))",
        "CREATE TABLE IF NOT EXISTS bare_task (partition_id text, job_id text, body text)",
        "TRUNCATE bare_completion, bare_job, bare_task",
    ] {
        sqlx::query(sql).execute(&fresh.pool).await.expect("the tables of the yardstick");
    }
}

/// `append`: one row per completion, in batches, each a statement of its own.
pub(crate) async fn append(pool: &PgPool, count: usize, batch: usize) -> Duration {
    let tasks: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
    let (partitions, jobs) = (vec!["acme"; batch], vec!["the-job"; batch]);
    let mut connection = pool.acquire().await.expect("a connection");
    let work = async {
        for tasks in tasks.chunks(batch) {
            let times = vec![1_790_000_000_000i64; tasks.len()];
            sqlx::query("INSERT INTO bare_completion SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])")
                .bind(&partitions[..tasks.len()])
                .bind(&jobs[..tasks.len()])
                .bind(tasks)
                .bind(times)
                .execute(&mut *connection)
                .await
                .expect("append");
        }
    };
    timed(work).await.1
}

/// A job as two bare rows, in one statement and one commit.
pub(crate) async fn insert_two_rows(pool: &PgPool, prefix: &str, count: usize) {
    let mut connection = pool.acquire().await.expect("a connection");
    for n in 0..count {
        sqlx::query(
            "WITH job AS (INSERT INTO bare_job VALUES ($1, $2, $3)) INSERT INTO bare_task VALUES ($1, $2, $3)",
        )
        .bind("acme")
        .bind(format!("{prefix}-{n}"))
        .bind(r#"{"scriptId":"split","batch":"abcdef","reference":"2f1c1f1e-5d34"}"#)
        .execute(&mut *connection)
        .await
        .expect("insert");
    }
}

/// How far the write-ahead log has come, in bytes.
pub(crate) async fn wal(pool: &PgPool) -> f64 {
    let row = sqlx::query("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8").fetch_one(pool).await;
    row.and_then(|row| row.try_get(0)).expect("a place in the log")
}
