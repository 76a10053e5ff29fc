//! From due outbox entries to queues.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use bytes::Bytes;
use job_benches::timed;
use job_conformance::store::{Call, ForwardingStore, StoreHook};
use job_core::dispatcher::{Dispatcher, DispatcherSettings, TrackingSettings, tracking};
use job_core::message::TaskMessage;
use job_core::queue::TaskQueue as _;
use job_core::{ClockExt as _, JobService, NewJob, Shutdown, Signals, SystemClock, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

use crate::bare::Bare;
use crate::setup::{Bench, job};
use crate::table::Compared;

/// How many jobs a dispatcher has dispatched, one after another, before it is measured: enough that its statements are planned
/// and its connections open, as in a server that has been up for a minute.
const BEFORE: usize = 30;
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
    let (names, early) = (names(bench, queues), bench.name("early-in"));
    let fresh = bench.fresh().await?;
    let store = Arc::new(ForwardingStore::new(Arc::clone(&fresh.store) as _, Settled::default()));
    let service = JobService::new(Arc::clone(&store) as _);
    let queue = bench.queue().await?;
    for name in names.iter().chain([&early]) {
        queue.declare(name).await?;
    }
    let clock = Arc::new(SystemClock::new());
    let signals = Signals::default();
    let dispatcher = Dispatcher::new(
        Arc::clone(&store) as _,
        Arc::clone(&queue) as _,
        Arc::<SystemClock>::clone(&clock),
        signals.clone(),
        Uuid::new_v4(),
        DispatcherSettings { poll_interval: LIMIT, ..DispatcherSettings::default() },
    );
    let shutdown = Shutdown::new();
    shutdown.spawn(dispatcher.run(shutdown.clone()));
    let dispatched = async |count: usize| {
        signals.wake_dispatcher();
        clock.timeout(LIMIT, store.reach(count)).await
    };
    for number in 0..BEFORE {
        service.create(job(&format!("early-{number}"), &early)).await?;
        dispatched(number + 1).await?;
    }
    let new: Vec<NewJob> =
        (0..jobs).map(|number| job(&format!("job-{number}"), &names[number % queues])).collect();
    for batch in new.chunks(1_000) {
        for created in service.create_all(batch.to_vec()).await? {
            created?;
        }
    }
    fresh.settle_down().await?;
    let (all, took) = timed(dispatched(BEFORE + jobs)).await;
    all?;
    shutdown.drain(clock.as_ref(), Duration::from_secs(10)).await;
    let mut published = 0;
    for name in &names {
        published += queue.depth(name).await?.unwrap_or_default();
    }
    ensure!(published == jobs as u64, "each job once: {published} messages");
    queue.close().await;
    bench.delete(&[names, vec![early]].concat()).await?;
    Ok(took)
}

/// How many entries are settled, counted where it costs the database nothing.
struct Settled(watch::Sender<usize>);

impl Default for Settled {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

#[async_trait]
impl StoreHook for Settled {
    async fn before(&self, _: Call<'_>) -> job_core::Result<()> {
        Ok(())
    }

    fn settled(&self, settled: &[bool]) {
        let fresh = settled.iter().filter(|settled| **settled).count();
        self.0.send_modify(|count| *count += fresh);
    }
}

impl Settled {
    async fn reach(&self, count: usize) {
        // The sender lives as long as this does.
        let _ = self.0.subscribe().wait_for(|settled| *settled >= count).await;
    }
}

async fn publish(bench: &Bench, jobs: usize, queues: usize) -> Result<Duration> {
    let names = names(bench, queues);
    bench.declare(&names).await?;
    let early = bench.name("early-in");
    bench.declare(std::slice::from_ref(&early)).await?;
    let bare = Bare::connect(&bench.rabbit.url()).await?;
    for number in 0..BEFORE {
        let body = message(&format!("early-{number}"), &early);
        bare.publish(std::iter::once((early.clone(), body))).await?;
    }
    bench.delete(&[early]).await?;
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
