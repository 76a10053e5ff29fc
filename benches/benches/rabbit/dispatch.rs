//! From due outbox entries to queues.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use job_benches::timed;
use job_core::dispatcher::{Dispatcher, DispatcherSettings, TrackingSettings, tracking};
use job_core::message::TaskMessage;
use job_core::queue::TaskQueue as _;
use job_core::{ClockExt as _, JobService, NewJob, Shutdown, Signals, SystemClock, Timestamp};
use sqlx::PgPool;
use uuid::Uuid;

use crate::bare::Bare;
use crate::setup::{Bench, job};
use crate::table::Compared;

/// How often the outbox is looked at: what the measurement is too long by, at most.
const LOOK: Duration = Duration::from_millis(4);
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn run(bench: &Bench) -> Result<()> {
    let jobs = bench.size(10_000, 1_000);
    for queues in [1, 100] {
        let work = format!("dispatch of {jobs} due jobs to {queues} queues");
        if !bench.wants(&work) {
            continue;
        }
        let mut compared = Compared::default();
        for round in 0..bench.rounds {
            let (ours, yardstick) = if round % 2 == 0 {
                let yardstick = publish(bench, jobs, queues).await?;
                (dispatch(bench, jobs, queues).await?, yardstick)
            } else {
                let ours = dispatch(bench, jobs, queues).await?;
                (ours, publish(bench, jobs, queues).await?)
            };
            compared.add(jobs, ours, yardstick);
        }
        compared.show(&work, "publish with confirms", 0.6);
    }
    Ok(())
}

fn names(bench: &Bench, queues: usize) -> Vec<String> {
    (0..queues).map(|_| bench.name("worker-in")).collect()
}

async fn dispatch(bench: &Bench, jobs: usize, queues: usize) -> Result<Duration> {
    let names = names(bench, queues);
    let fresh = bench.fresh().await?;
    let service = JobService::new(Arc::clone(&fresh.store) as _);
    let new: Vec<NewJob> =
        (0..jobs).map(|number| job(&format!("job-{number}"), &names[number % queues])).collect();
    for batch in new.chunks(1_000) {
        for created in service.create_all(batch.to_vec()).await? {
            created?;
        }
    }
    fresh.settle_down().await?;
    let queue = bench.queue().await?;
    for name in &names {
        queue.declare(name).await?;
    }
    let clock = Arc::new(SystemClock::new());
    let dispatcher = Dispatcher::new(
        Arc::clone(&fresh.store) as _,
        Arc::clone(&queue) as _,
        Arc::<SystemClock>::clone(&clock),
        Signals::default(),
        Uuid::new_v4(),
        DispatcherSettings::default(),
    );
    let shutdown = Shutdown::new();
    let work = async {
        shutdown.spawn(dispatcher.run(shutdown.clone()));
        clock.timeout(LIMIT, emptied(&fresh.pool)).await
    };
    let (emptied, took) = timed(work).await;
    emptied??;
    shutdown.drain(clock.as_ref(), Duration::from_secs(10)).await;
    let mut published = 0;
    for name in &names {
        published += queue.depth(name).await?.unwrap_or_default();
    }
    ensure!(published == jobs as u64, "each job once: {published} messages");
    queue.close().await;
    bench.delete(&names).await?;
    Ok(took)
}

/// Completes when every entry of the outbox is settled.
async fn emptied(pool: &PgPool) -> Result<()> {
    while sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM outbox)").fetch_one(pool).await? {
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

async fn publish(bench: &Bench, jobs: usize, queues: usize) -> Result<Duration> {
    let names = names(bench, queues);
    bench.declare(&names).await?;
    let bare = Bare::connect(&bench.rabbit.url()).await?;
    let messages: Vec<(String, Bytes)> = (0..jobs)
        .map(|number| {
            let queue = names[number % queues].clone();
            let body = message(&format!("job-{number}"), &queue);
            (queue, body)
        })
        .collect();
    let (result, took) = timed(bare.publish(messages.into_iter())).await;
    result?;
    bench.delete(&names).await?;
    Ok(took)
}

/// As the dispatcher writes it.
fn message(id: &str, queue: &str) -> Bytes {
    let job = job(id, queue);
    let task = job.task;
    let now = Timestamp::from_millis(1_790_000_000_000);
    TaskMessage {
        tracking: Some(tracking(&job.key, None, &TrackingSettings::default(), now)),
        ..TaskMessage::new_task(
            Uuid::new_v4().to_string(),
            task.classifier,
            task.api_version,
            task.data,
            task.queue,
        )
    }
    .encode()
}
