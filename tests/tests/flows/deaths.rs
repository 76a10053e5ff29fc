//! Servers with their workers that are stopped or killed in the middle of their work, and others that take over.

use std::sync::Arc;
use std::time::Duration;

use job_core::{Engine, JobKey, JobStatus};
use job_tests::backends::Backends;
use job_tests::waiting::{PATIENCE, until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::workers::{Item, check, create, start};

const JOBS: u32 = 5;
/// Between two looks at a job that another server finishes.
const POLL: Duration = Duration::from_millis(50);
const ITEMS: u32 = 40;

async fn create_some(engine: &Engine, backends: &Backends, round: u32) -> Vec<JobKey> {
    let mut keys = Vec::new();
    for job in 0..JOBS {
        keys.push(create(engine, backends, &format!("j{round}-{job}"), ITEMS).await);
    }
    keys
}

async fn all_complete(engine: &Engine, keys: &[JobKey]) {
    for key in keys {
        let job = engine.service().wait(key, PATIENCE, POLL).await.unwrap();
        assert_eq!((job.status, job.subtasks.total), (JobStatus::Completed, Some(ITEMS + 1)), "{job:#?}");
        assert_eq!((job.subtasks.completed, job.failure_count), (ITEMS + 1, 0), "{job:#?}");
    }
}

pub async fn stopping_under_load_loses_nothing(backends: &Backends) {
    let item = Item::new();
    item.permits.add_permits(100_000);
    let mut keys = Vec::new();
    for round in 0..2 * backends.seeds() as u32 {
        let engine = start(backends, item.clone()).await;
        let before = item.done();
        keys.extend(create_some(&engine, backends, round).await);
        until("some items are done", async || item.done() > before + 20).await;
        assert!(engine.stop().await, "round {round}");
    }
    let engine = start(backends, item).await;
    all_complete(&engine, &keys).await;
    assert!(engine.stop().await);
    check(backends).await;
}

/// As good as a process of its own: when it is killed, all that runs in it ends wherever it just is, and its connections
/// with it.
struct Victim(Option<Runtime>);

impl Victim {
    /// A server with workers.
    async fn start(backends: &Arc<Backends>, item: &Item) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (backends, item) = (Arc::clone(backends), item.clone());
        let (is_up, up) = oneshot::channel();
        runtime.handle().spawn(async move {
            let _engine = start(&backends, item).await;
            is_up.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        up.await.unwrap();
        Self(Some(runtime))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

pub async fn killed_servers_and_workers_lose_nothing(backends: &Arc<Backends>) {
    let item = Item::new();
    item.permits.add_permits(100_000);
    // It has no workers, and goes on beside all that die.
    let (store, queue) = backends.server().await;
    let survivor = Engine::start(store, queue, backends.settings());
    let mut keys = Vec::new();
    for round in 0..2 * backends.seeds() as u32 {
        let victims = [Victim::start(backends, &item).await, Victim::start(backends, &item).await];
        let before = item.done();
        keys.extend(create_some(&survivor, backends, round).await);
        until("some items are done", async || item.done() > before + 20).await;
        drop(victims);
    }
    let last = start(backends, item.clone()).await;
    all_complete(&survivor, &keys).await;
    assert!(item.done() >= u64::from(ITEMS) * keys.len() as u64, "each item at least once");
    assert!(last.stop().await && survivor.stop().await);
    check(backends).await;
}
