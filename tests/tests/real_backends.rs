//! The same flows on PostgreSQL and RabbitMQ: two engines at once, unreliable workers, and every count exact.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::stower::StowerSettings;
use job_core::tracker::TrackerSettings;
use job_core::{Engine, EngineSettings, JobId, JobStatus, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use job_store_postgres::{PostgresOptions, PostgresStore};
use job_tests::scenario::Scenario;
use job_tests::unreliable::{Misbehaviour, Split};
use testkit::TestDatabase;

async fn store(url: &str) -> job_core::Result<PostgresStore> {
    PostgresStore::connect(PostgresOptions::new(url)?, Arc::new(SystemClock::new())).await
}

async fn database() -> TestDatabase {
    let migrate = async |url: &str| -> job_core::Result<()> { store(url).await?.migrate().await.map(drop) };
    TestDatabase::create("job_tests_v1", migrate).await.unwrap()
}

async fn queue() -> Arc<dyn TaskQueue> {
    let options = AmqpOptions::from_uri(testkit::rabbit().unwrap()).unwrap();
    Arc::new(AmqpQueue::connect(options).await.unwrap())
}

/// Queues that no other test uses.
fn settings(name: &str) -> EngineSettings {
    let mut settings = EngineSettings::default();
    let tracking = format!("{name}-tracking");
    if let Some(dispatcher) = &mut settings.dispatcher {
        dispatcher.tracking.tracking_queue.clone_from(&tracking);
    }
    settings.tracker = Some(TrackerSettings::new(tracking));
    settings.stower = Some(StowerSettings::new(format!("{name}-paused")));
    settings
}

fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_dependents_complete_exactly_beside_a_second_engine() {
    let (database, name) = (database().await, unique("batches"));
    let first: Arc<dyn JobStore> = Arc::new(store(database.url()).await.unwrap());
    let second: Arc<dyn JobStore> = Arc::new(store(database.url()).await.unwrap());
    // The second engine shares the store, the queues and the work.
    let beside = Engine::start(second, queue().await, settings(&name));
    let input = format!("{name}-in");
    let scenario = Scenario::start(first, queue().await, settings(&name), &input, Misbehaviour::BAD, 3, 5);
    let id = |name: &str| JobId::new(name).unwrap();
    let shapes = [Split::new(6, 3), Split::new(40, 1), Split::new(0, 0), Split::new(3, 4)];
    let jobs = vec![
        scenario.job("p", "nested", &shapes[0]),
        scenario.job("p", "flat", &shapes[1]).after([id("nested")]),
        scenario.job("p", "single", &shapes[2]).after([id("nested"), id("flat")]),
        scenario.job("q", "deep", &shapes[3]).with_delay(Duration::from_secs(1)),
    ];
    let keys = scenario.create(jobs).await;
    let jobs = scenario.finished(&keys).await;
    for job in &jobs {
        assert_eq!((job.status, job.percentage.hundredths()), (JobStatus::Completed, 10_000), "{job:#?}");
    }
    assert!(jobs[1].start_time >= jobs[0].finish_time && jobs[2].start_time >= jobs[1].finish_time);
    let tracked = beside.tracked().unwrap();
    assert!(beside.stop().await);
    let counts = scenario.stop_and_verify(&["p", "q"]).await;
    let counted = counts.counted + tracked.borrow().counted;
    assert_eq!(counted, shapes.iter().map(Split::completions).sum::<u64>(), "each completion exactly once");
}
