//! Pausing, resuming, cancelling and stopping in mid-flight, with workers of the SDK.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use job_conformance::store::invariants::check_invariants;
use job_core::dispatcher::TrackingSettings;
use job_core::queue::TaskQueue;
use job_core::store::{Action, JobStore};
use job_core::worker::{Outcome, RunnerSettings, StoreStatus, TaskContext, Worker, WorkerResult};
use job_core::{
    Clock, ClockExt, Engine, EngineSettings, JobKey, JobStatus, NewJob, PartitionId, SystemClock, TaskSpec,
};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use tokio::sync::Semaphore;

const PAUSED: &str = "jobservice-paused-in";
const PATIENCE: Duration = Duration::from_secs(30);

/// Splits into as many items as its payload says.
struct Split;

impl Worker for Split {
    type Task = u32;
    const KIND: &'static str = "Split";

    async fn run(&self, items: u32, context: &TaskContext) -> WorkerResult {
        for item in 0..items {
            context.subtask("items", Item::KIND, 1, &item).await?;
        }
        Ok(Outcome::done())
    }
}

/// Performs an item whenever the test lets it.
#[derive(Clone)]
struct Item {
    permits: Arc<Semaphore>,
    done: Arc<AtomicU64>,
}

impl Item {
    const KIND: &'static str = "Item";

    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), done: Arc::default() }
    }

    fn done(&self) -> u64 {
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

fn start(store: &Arc<MemoryStore>, queue: MemoryQueue, item: &Item) -> Engine {
    let mut settings = EngineSettings { drain: Duration::from_secs(5), ..EngineSettings::default() };
    // Workers ask for the status before every task: what takes seconds elsewhere happens at once here.
    let now = Duration::ZERO;
    if let Some(dispatcher) = &mut settings.dispatcher {
        dispatcher.tracking = TrackingSettings { status_check_interval: now, ..TrackingSettings::default() };
    }
    let engine = Engine::start(Arc::clone(store) as _, Arc::new(queue), settings);
    let status = || StoreStatus::new(Arc::clone(store) as _, Arc::clone(engine.clock())).with_interval(now);
    let settings = RunnerSettings {
        paused_queue: Some(PAUSED.into()),
        drain_limit: Duration::from_millis(200),
        ..RunnerSettings::default()
    };
    let split = engine.runner("splits").settings(settings.clone()).status(status()).register(Split);
    let items =
        engine.runner("items").settings(settings).status(status()).concurrency(4).register(item.clone());
    engine.host(split.build().unwrap());
    engine.host(items.build().unwrap());
    engine
}

async fn create(engine: &Engine, name: &str, items: u32) -> JobKey {
    let key = JobKey::parse("p", name).unwrap();
    let task = TaskSpec::json(Split::KIND, "splits", &items).unwrap();
    engine.service().create(NewJob::new(key.clone(), task)).await.unwrap();
    key
}

/// Waits for a condition; looks again whenever other tasks have had their turn.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().saturating_add(PATIENCE);
    while !holds().await {
        assert!(clock.now() < deadline, "still not: {what}");
        tokio::task::yield_now().await;
    }
}

async fn check(store: &MemoryStore) {
    check_invariants(store, &[PartitionId::new("p").unwrap()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_job_is_stowed_and_goes_on_where_it_was() {
    let (store, item) = (Arc::new(MemoryStore::new()), Item::new());
    let queue = MemoryQueue::new();
    let engine = start(&store, queue.connect(), &item);
    let key = create(&engine, "j", 100).await;
    let other = create(&engine, "other", 10).await;
    item.permits.add_permits(20);
    until("twenty items are done", async || item.done() == 20).await;
    engine.service().act(&key, Action::Pause).await.unwrap();
    // The few that run already finish; all others are stowed, and the other job's go on.
    item.permits.add_permits(1_000);
    let finished = engine.service().wait(&other, PATIENCE, PATIENCE).await.unwrap();
    assert_eq!(finished.status, JobStatus::Completed);
    until("the queues are empty", async || {
        let waiting = async |name| queue.depth(name).await.unwrap().unwrap_or(0);
        waiting("items").await + waiting(PAUSED).await == 0
    })
    .await;
    let paused = engine.service().get(&key).await.unwrap();
    assert_eq!(paused.status, JobStatus::Paused);
    assert!(paused.subtasks.completed < 60, "{paused:?}");
    check(&store).await;

    engine.service().act(&key, Action::Resume).await.unwrap();
    let job = engine.service().wait(&key, PATIENCE, PATIENCE).await.unwrap();
    assert_eq!((job.status, item.done()), (JobStatus::Completed, 110), "each item once");
    assert!(engine.stop().await);
    check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_stops_running_tasks_and_drops_the_others() {
    let (store, item) = (Arc::new(MemoryStore::new()), Item::new());
    let queue = MemoryQueue::new();
    let engine = start(&store, queue.connect(), &item);
    let key = create(&engine, "j", 1_000).await;
    item.permits.add_permits(10);
    until("ten items are done", async || item.done() == 10).await;
    engine.service().act(&key, Action::Cancel).await.unwrap();
    until("the items are gone", async || queue.depth("items").await.unwrap() == Some(0)).await;
    let job = engine.service().get(&key).await.unwrap();
    assert_eq!((job.status, item.done()), (JobStatus::Cancelled, 10));
    assert!(engine.stop().await);
    check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing() {
    let (store, item) = (Arc::new(MemoryStore::new()), Item::new());
    let queue = MemoryQueue::new();
    item.permits.add_permits(100_000);
    let mut keys = Vec::new();
    // Ten times the engine is stopped in the middle of its work, and another one takes over.
    for round in 0..10 {
        let engine = start(&store, queue.connect(), &item);
        for job in 0..5 {
            keys.push(create(&engine, &format!("j{round}-{job}"), 40).await);
        }
        let before = item.done();
        until("some items are done", async || item.done() > before + 20).await;
        assert!(engine.stop().await, "round {round}");
    }
    let engine = start(&store, queue.connect(), &item);
    for key in &keys {
        let job = engine.service().wait(key, PATIENCE, PATIENCE).await.unwrap();
        assert_eq!((job.status, job.subtasks.total), (JobStatus::Completed, Some(41)), "{job:#?}");
    }
    assert!(engine.stop().await);
    check(&store).await;
}

/// An engine on a durable store whose queue lived in the process that was killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_queue_has_forgotten_is_done_again() {
    let (store, item) = (Arc::new(MemoryStore::new()), Item::new());
    let engine = start(&store, MemoryQueue::new(), &item);
    let key = create(&engine, "j", 40).await;
    item.permits.add_permits(10);
    until("ten are done", async || item.done() == 10).await;
    let paused = create(&engine, "paused", 5).await;
    until("both are dispatched", async || {
        let jobs = store.get(&[key.clone(), paused.clone()]).await.unwrap();
        jobs.iter().flatten().all(|job| job.start_time.is_some())
    })
    .await;
    engine.service().act(&paused, Action::Pause).await.unwrap();
    assert!(engine.stop().await);

    let engine = start(&store, MemoryQueue::new(), &item);
    item.permits.add_permits(1_000);
    let job = engine.service().wait(&key, PATIENCE, PATIENCE).await.unwrap();
    assert_eq!((job.status, job.subtasks.total), (JobStatus::Completed, Some(41)), "{job:#?}");
    engine.service().act(&paused, Action::Resume).await.unwrap();
    let job = engine.service().wait(&paused, PATIENCE, PATIENCE).await.unwrap();
    assert_eq!((job.status, job.subtasks.total), (JobStatus::Completed, Some(6)), "{job:#?}");
    assert!(engine.stop().await);
    check(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_panics_fails_its_task_and_nothing_else() {
    struct Fussy;
    impl Worker for Fussy {
        type Task = u32;
        const KIND: &'static str = Item::KIND;
        async fn run(&self, item: u32, _: &TaskContext) -> WorkerResult {
            assert!(item != 7, "not the seven");
            Ok(Outcome::done())
        }
    }
    let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
    let engine = Engine::start(Arc::clone(&store), Arc::new(MemoryQueue::new()), EngineSettings::default());
    engine.host(engine.runner("splits").register(Split).build().unwrap());
    engine.host(engine.runner("items").register(Fussy).build().unwrap());
    let key = create(&engine, "j", 20).await;
    until("all others are done", async || engine.service().get(&key).await.unwrap().subtasks.completed == 20)
        .await;
    let job = engine.service().get(&key).await.unwrap();
    assert_eq!((job.status, job.failure_count), (JobStatus::Failed, 1));
    assert!(job.failures[0].message.contains("not the seven"), "{:?}", job.failures);
    assert!(engine.stop().await);
}

#[tokio::test]
async fn waiting_for_a_job_ends_with_its_time() {
    let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
    let engine = Engine::start(store, Arc::new(MemoryQueue::new()), EngineSettings::default());
    let key = create(&engine, "nobody works on it", 1).await;
    let waited = engine.service().wait(&key, Duration::from_millis(30), Duration::from_millis(10));
    let clock = SystemClock::new();
    let job = clock.timeout(PATIENCE, waited).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Waiting);
    assert!(engine.stop().await);
}
