//! Queues that take no more, and queues that cannot be reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::ready;
use job_core::clock::ManualClock;
use job_core::dispatcher::{Dispatcher, DispatcherSettings};
use job_core::queue::TaskQueue as _;
use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use job_core::{
    Engine, EngineSettings, Error, IdSource as _, JobKey, JobService, JobStatus, NewJob, RandomIds, TaskSpec,
    Timestamp,
};
use job_queue_memory::{MemoryQueue, MemoryQueueOptions};
use job_store_memory::MemoryStore;
use job_tests::hooked_queue::HookedQueue;

const PATIENCE: Duration = Duration::from_secs(30);

/// Splits into a tree on its own queue.
struct Tree;

impl Worker for Tree {
    type Task = u32;
    const KIND: &'static str = "Tree";

    async fn run(&self, depth: u32, context: &TaskContext) -> WorkerResult {
        for _ in 0..if depth == 0 { 0 } else { 10 } {
            context.subtask("tree-in", Self::KIND, 1, &(depth - 1)).await?;
        }
        Ok(Outcome::done())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_fills_its_own_queue_does_not_wait_for_itself() {
    let options = MemoryQueueOptions { capacity_messages: 5, ..MemoryQueueOptions::default() };
    let queue = MemoryQueue::with_options(options);
    let engine = Engine::start(Arc::new(MemoryStore::new()), Arc::new(queue), EngineSettings::default());
    // The only consumer, and one task at a time.
    let monitor = engine.host(engine.runner("tree-in").register(Tree).concurrency(1).build().unwrap());
    let key = JobKey::parse("acme", "tree").unwrap();
    let task = TaskSpec::json(Tree::KIND, "tree-in", &1).unwrap();
    engine.service().create(NewJob::new(key.clone(), task)).await.unwrap();
    let job = engine.service().wait(&key, PATIENCE, Duration::from_secs(1)).await.unwrap();
    assert_eq!(job.status, JobStatus::Completed, "{:?}", monitor.counts());
    assert_eq!(monitor.counts().succeeded, 11, "{:?}", monitor.counts());
    assert!(engine.stop().await);
}

/// Behind a cut cable, or with a memory alarm, a broker takes nothing.
#[tokio::test]
async fn dispatching_goes_on_within_five_seconds_however_long_nobody_could_publish() {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = Arc::clone(&down);
    let queue = Arc::new(HookedQueue::new(MemoryQueue::new(), move || {
        let blocked = || Err(Error::unavailable("blocked: low on memory"));
        ready(if is_down.load(Ordering::SeqCst) { blocked() } else { Ok(()) }).boxed()
    }));
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    let service = JobService::new(Arc::new(MemoryStore::new())).with_clock(Arc::clone(&clock) as _);
    let dispatcher = Dispatcher::new(
        Arc::clone(service.store()),
        Arc::clone(&queue) as _,
        Arc::clone(&clock) as _,
        service.signals().clone(),
        RandomIds.next(),
        DispatcherSettings::default(),
    );
    let key = JobKey::parse("acme", "job").unwrap();
    service.create(NewJob::new(key, TaskSpec::json("W", "w-in", &()).unwrap())).await.unwrap();
    for _ in 0..100 {
        assert_eq!(dispatcher.dispatch_due().await.unwrap().taken, 1);
        clock.advance(Duration::from_secs(5));
    }
    down.store(false, Ordering::SeqCst);
    assert_eq!(dispatcher.dispatch_due().await.unwrap().taken, 1);
    assert_eq!(queue.depth("w-in").await.unwrap(), Some(1));
}
