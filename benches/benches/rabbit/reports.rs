//! Reports through the tracker into PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use job_benches::timed;
use job_core::queue::TaskQueue as _;
use job_core::store::JobStore;
use job_core::tracker::{Tracker, TrackerSettings};
use job_core::{JobService, JobStatus, Shutdown, Signals, SystemClock};

use crate::bare::Bare;
use crate::setup::{Bench, Fresh, PARTITION, job, key, report};
use crate::table::{Compared, row};

pub(crate) const JOB: &str = "the-job";
/// As many as a Java worker buffers.
const ENTRIES: usize = 5;
/// The tracker's own.
const BATCH: usize = 1_000;

pub(crate) async fn run(bench: &Bench) -> Result<()> {
    let tasks = bench.size(1_000_000, 100_000);
    let mut compared = Compared::default();
    for round in 0..bench.rounds {
        let fresh = bench.fresh().await?;
        JobService::new(Arc::clone(&fresh.store) as _).create(job(JOB, "unused")).await?;
        let queues = [bench.name("tracking"), bench.name("yardstick")];
        bench.declare(&queues).await?;
        for queue in &queues {
            bench.bare.publish(messages(queue, tasks).map(|body| (queue.clone(), body))).await?;
        }
        fresh.settle_down().await?;
        let (ours, yardstick) = if round % 2 == 0 {
            let yardstick = append(bench, &fresh, &queues[1], tasks).await?;
            (track(bench, &fresh, &queues[0], tasks).await?, yardstick)
        } else {
            let ours = track(bench, &fresh, &queues[0], tasks).await?;
            (ours, append(bench, &fresh, &queues[1], tasks).await?)
        };
        compared.add(tasks, ours, yardstick);
        bench.delete(&queues).await?;
    }
    let work = format!("reports into PostgreSQL, {tasks} completions, {ENTRIES} a message");
    compared.show(&work, "consume, append, ack", 0.7);
    let rate = compared.ours.median();
    row(&work, &format!("{} /s", compared.ours.shown()), "", "", "50k /s", rate >= 50_000.0);
    Ok(())
}

/// `ENTRIES` completions a message, in order, the last one final.
pub(crate) fn messages(queue: &str, tasks: usize) -> impl Iterator<Item = Bytes> {
    (1..=tasks).step_by(ENTRIES).map(move |first| {
        let mark = |number| if number == tasks { "*" } else { "" };
        let numbers = first..=(first + ENTRIES - 1).min(tasks);
        report(queue, numbers.map(|number| format!("{PARTITION}:{JOB}.{number}{}", mark(number))))
    })
}

async fn track(bench: &Bench, fresh: &Fresh, queue: &str, tasks: usize) -> Result<Duration> {
    let (store, signals) = (Arc::clone(&fresh.store), Signals::default());
    let ours = bench.queue().await?;
    let clock = Arc::new(SystemClock::new());
    let settings = TrackerSettings::new(queue);
    let tracker = Tracker::new(
        Arc::clone(&store) as _,
        Arc::clone(&ours) as _,
        Arc::<SystemClock>::clone(&clock),
        signals.clone(),
        settings,
    );
    let counts = tracker.counts();
    let mut finished = signals.finished_jobs();
    let shutdown = Shutdown::new();
    let work = async {
        shutdown.spawn(tracker.run(shutdown.clone()));
        finished.recv().await
    };
    let (finished, took) = timed(work).await;
    ensure!(finished? == key(JOB), "no other job is there");
    shutdown.drain(clock.as_ref(), Duration::from_secs(10)).await;
    let counts = *counts.borrow();
    ensure!(
        (counts.counted, counts.duplicates, counts.refused) == (tasks as u64, 0, 0),
        "every completion is counted once: {counts:?}"
    );
    let status = store.statuses(&[key(JOB)]).await?;
    ensure!(status == [Some(JobStatus::Completed)], "the job is complete, not {status:?}");
    ensure!(ours.depth(queue).await? == Some(0), "every message is acked");
    ours.close().await;
    Ok(took)
}

/// Consumes and acks the same messages and, for each batch, inserts one row a completion in one statement. It need not
/// even read the messages: what they say is known here.
async fn append(bench: &Bench, fresh: &Fresh, queue: &str, tasks: usize) -> Result<Duration> {
    sqlx::query(
        "CREATE TABLE bare_completion (partition_id text, job_id text, task_id text, reported_at bigint)",
    )
    .execute(&fresh.pool)
    .await?;
    let bare = Bare::connect(&bench.rabbit.url()).await?;
    let mut connection = fresh.pool.acquire().await?;
    let numbers: Vec<String> = (1..=tasks).map(|number| number.to_string()).collect();
    let (partitions, jobs) = (vec![PARTITION; BATCH * ENTRIES], vec![JOB; BATCH * ENTRIES]);
    let times = vec![1_790_000_000_000_i64; BATCH * ENTRIES];
    let mut done = 0;
    let work = bare.consume(queue, tasks.div_ceil(ENTRIES), BATCH, async |batch| {
        let next = (done + batch.len() * ENTRIES).min(tasks);
        let count = next - done;
        sqlx::query("INSERT INTO bare_completion SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])")
            .bind(&partitions[..count])
            .bind(&jobs[..count])
            .bind(&numbers[done..next])
            .bind(&times[..count])
            .execute(&mut *connection)
            .await?;
        done = next;
        Ok(())
    });
    let (result, took) = timed(work).await;
    result?;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM bare_completion").fetch_one(&fresh.pool).await?;
    ensure!(rows == tasks as i64, "every completion has a row");
    Ok(took)
}
