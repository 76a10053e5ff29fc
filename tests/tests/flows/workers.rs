//! Workers of the SDK: one that splits, and one whose items the test lets go.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use job_conformance::store::invariants::check_invariants;
use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::worker::{
    Outcome, RunnerMonitor, RunnerSettings, StoreStatus, TaskContext, Worker, WorkerResult,
};
use job_core::{Engine, JobKey, NewJob, PartitionId, TaskSpec};
use job_tests::backends::Backends;
use tokio::sync::Semaphore;

/// Splits into as many items as its payload says.
struct Split {
    items: String,
}

impl Worker for Split {
    type Task = u32;
    const KIND: &'static str = "Split";

    async fn run(&self, items: u32, context: &TaskContext) -> WorkerResult {
        for item in 0..items {
            context.subtask(&self.items, Item::KIND, 1, &item).await?;
        }
        Ok(Outcome::done())
    }
}

/// Performs an item whenever the test lets it.
#[derive(Clone)]
pub struct Item {
    pub permits: Arc<Semaphore>,
    done: Arc<AtomicU64>,
}

impl Item {
    pub const KIND: &'static str = "Item";

    pub fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), done: Arc::default() }
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::SeqCst)
    }
}

impl Worker for Item {
    type Task = u32;
    const KIND: &'static str = Self::KIND;

    async fn run(&self, _: u32, context: &TaskContext) -> WorkerResult {
        tokio::select! {
            permit = self.permits.acquire() => permit?.forget(),
            () = context.cancelled() => return Ok(Outcome::done()),
        }
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(Outcome::done())
    }
}

/// A server with connections of its own that hosts a splitter and a worker of the kind `Item`.
pub async fn start(backends: &Backends, item: impl Worker) -> Engine {
    let (store, queue) = backends.server().await;
    start_on(store, queue, backends, item).0
}

/// The same on connections that the caller has, with the counts of the worker.
pub fn start_on(
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    backends: &Backends,
    item: impl Worker,
) -> (Engine, RunnerMonitor) {
    let engine = Engine::start(store, queue, backends.settings());
    let store = || Arc::clone(engine.service().store());
    // They ask for the status before every task.
    let status = || StoreStatus::new(store(), Arc::clone(engine.clock())).with_interval(Duration::ZERO);
    let settings = RunnerSettings {
        paused_queue: Some(backends.paused_queue()),
        drain_limit: Duration::from_millis(200),
        ..RunnerSettings::default()
    };
    let splits = engine.runner(backends.queue("splits")).settings(settings.clone()).status(status());
    let split = Split { items: backends.queue("items") };
    engine.host(splits.register(split).build().unwrap());
    let items = engine.runner(backends.queue("items")).settings(settings).status(status()).concurrency(4);
    let monitor = engine.host(items.register(item).build().unwrap());
    (engine, monitor)
}

/// A job that splits into this many items.
pub async fn create(engine: &Engine, backends: &Backends, name: &str, items: u32) -> JobKey {
    let key = JobKey::parse("p", name).unwrap();
    let task = TaskSpec::json(Split::KIND, backends.queue("splits"), &items).unwrap();
    engine.service().create(NewJob::new(key.clone(), task)).await.unwrap();
    key
}

/// How many messages of these queues nobody has in hand.
pub async fn waiting(engine: &Engine, queues: &[String]) -> u64 {
    let mut sum = 0;
    for queue in queues {
        sum += engine.queue().depth(queue).await.unwrap().unwrap_or(0);
    }
    sum
}

/// What is stored does not contradict itself.
pub async fn check(backends: &Backends) {
    let (store, queue) = backends.server().await;
    check_invariants(store.as_ref(), &[PartitionId::new("p").unwrap()]).await.unwrap();
    queue.close().await;
}
