//! A whole job: created, split by a batch worker, performed, reported, completed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use async_trait::async_trait;
use job_benches::timed;
use job_core::message::TaskMessage;
use job_core::queue::TaskQueue;
use job_core::stower::StowerSettings;
use job_core::tracker::TrackerSettings;
use job_core::worker::batch::{BATCH_KIND, BatchError, BatchPlugin, BatchServices, BatchTask, BatchWorker};
use job_core::worker::{Outcome, Runner, RunnerBuilder, TaskContext, Worker, WorkerResult};
use job_core::{Engine, EngineSettings, JobStatus, NewJob, Shutdown, TaskSpec};
use tokio::runtime::Handle;

use crate::bare::{Bare, PREFETCH};
use crate::setup::{Bench, key};
use crate::table::Compared;

const JOB: &str = "the-job";
const ITEMS_PER_BATCH: usize = 1_000;
const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(500);

/// Where the workers are, as far as it shows in their messages.
#[derive(Clone, Copy)]
enum Workers {
    /// In the engine's process: they bundle the reports of different tasks.
    Inside,
    /// As in a process of their own beside Java workers: each task reports by itself, progress of zero included.
    Apart,
}

pub(crate) async fn run(bench: &Bench) -> Result<()> {
    let items = bench.size(100_000, 10_000);
    for (workers, what) in [(Workers::Inside, "workers in the process"), (Workers::Apart, "workers apart")] {
        let work = format!("whole job of {items} subtasks, {what}");
        if !bench.wants(&work) {
            continue;
        }
        let mut compared = Compared::default();
        for _ in 0..bench.rounds {
            let yardstick = relay(bench, items).await?;
            compared.add(items, whole_job(bench, items, workers).await?, yardstick);
        }
        compared.show(&work, "publish, relay, consume", 0.4);
    }
    Ok(())
}

struct Ranges;

#[async_trait]
impl BatchPlugin for Ranges {
    fn name(&self) -> &str {
        "Ranges"
    }

    /// `0..100000` into batches of a thousand, a thousand into items.
    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
        let (first, end) = definition.split_once("..").ok_or_else(|| BatchError::definition("no range"))?;
        let number = |text: &str| text.parse::<usize>().map_err(BatchError::definition);
        let (first, end) = (number(first)?, number(end)?);
        if end - first > ITEMS_PER_BATCH {
            for first in (first..end).step_by(ITEMS_PER_BATCH) {
                let end = (first + ITEMS_PER_BATCH).min(end);
                services.register_batch_subtask(format!("{first}..{end}")).await?;
            }
        } else {
            for item in first..end {
                services.register_item_subtask(Nothing::KIND, 1, &item).await?;
            }
        }
        Ok(())
    }
}

struct Nothing;

impl Worker for Nothing {
    type Task = usize;
    const KIND: &'static str = "Nothing";

    async fn run(&self, _: usize, _: &TaskContext) -> WorkerResult {
        Ok(Outcome::done())
    }
}

fn settings(tracking: &str, paused: &str) -> EngineSettings {
    let mut settings = EngineSettings::default();
    if let Some(dispatcher) = &mut settings.dispatcher {
        tracking.clone_into(&mut dispatcher.tracking.tracking_queue);
    }
    settings.tracker = Some(TrackerSettings::new(tracking));
    settings.stower = Some(StowerSettings::new(paused));
    settings
}

async fn whole_job(bench: &Bench, items: usize, workers: Workers) -> Result<Duration> {
    let queues = ["tracking", "batch-in", "item-in", "paused"].map(|name| bench.name(name));
    bench.declare(&queues).await?;
    let [tracking, batch_in, item_in, paused] = &queues;
    let fresh = bench.fresh().await?;
    fresh.settle_down().await?;
    let engine =
        Engine::start(Arc::clone(&fresh.store) as _, bench.queue().await?, settings(tracking, paused));
    let beside: Arc<dyn TaskQueue> = bench.queue().await?;
    let runner = |queue: &str| -> RunnerBuilder {
        match workers {
            Workers::Inside => engine.runner(queue),
            Workers::Apart => Runner::builder(Arc::clone(&beside), queue),
        }
    };
    engine.host(runner(batch_in).register(BatchWorker::new().with_plugin(Ranges)).build()?);
    let done = engine.host(runner(item_in).register(Nothing).prefetch(PREFETCH).build()?);
    let task = BatchTask {
        batch_definition: Some(format!("0..{items}")),
        batch_type: Some("Ranges".to_owned()),
        target_pipe: Some(item_in.clone()),
        ..BatchTask::default()
    };
    let new = NewJob::new(key(JOB), TaskSpec::json(BATCH_KIND, batch_in.clone(), &task)?);
    let work = async {
        engine.service().create(new).await?;
        engine.service().wait(&key(JOB), LIMIT, POLL).await
    };
    let (finished, took) = timed(work).await;
    let finished = finished?;
    ensure!(finished.status == JobStatus::Completed, "it did not complete: {finished:?}");
    ensure!(done.counts().succeeded == items as u64, "each item once: {:?}", done.counts());
    ensure!(engine.stop().await, "the engine stops in time");
    beside.close().await;
    bench.delete(&queues).await?;
    Ok(took)
}

/// The same number of messages through the two queues that each item's message and its report go through, all stages at
/// once.
async fn relay(bench: &Bench, items: usize) -> Result<Duration> {
    const BATCH: usize = 1_000;
    let queues = ["relay-from", "relay-to"].map(|name| bench.name(name));
    bench.declare(&queues).await?;
    let body = TaskMessage {
        tracking: Some(job_core::dispatcher::tracking(
            &key(JOB),
            None,
            &job_core::dispatcher::TrackingSettings::default(),
            job_core::Timestamp::from_millis(1_790_000_000_000),
        )),
        ..TaskMessage::new_task(
            format!("{}.100.1000", uuid::Uuid::new_v4()),
            "Nothing",
            1,
            "10000",
            &queues[0],
        )
    }
    .encode();
    let [feeder, relay, sink] = [
        Bare::connect(&bench.rabbit.url()).await?,
        Bare::connect(&bench.rabbit.url()).await?,
        Bare::connect(&bench.rabbit.url()).await?,
    ];
    let [from, to] = queues.clone();
    // Each stage on a thread of its own, as ours have several.
    let (tasks, here) = (Shutdown::new(), Handle::current());
    let work = async {
        let feeding = tasks.spawn_blocking({
            let (here, from) = (here.clone(), from.clone());
            move || here.block_on(feeder.publish((0..items).map(|_| (from.clone(), body.clone()))))
        });
        let relaying = tasks.spawn_blocking({
            let (here, to) = (here.clone(), to.clone());
            move || here.block_on(relay.relay(&from, &to, items, BATCH))
        });
        let sinking =
            tasks.spawn_blocking(move || here.block_on(sink.consume(&to, items, BATCH, async |_| Ok(()))));
        feeding.await??;
        relaying.await??;
        sinking.await?
    };
    let (result, took) = timed(work).await;
    result?;
    bench.delete(&queues).await?;
    Ok(took)
}
