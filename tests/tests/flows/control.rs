//! Pausing, resuming and cancelling in mid-flight. One server has the workers, and clients ask another one.

use std::time::Duration;

use job_core::store::Action;
use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use job_core::{ClockExt as _, Engine, JobStatus, SystemClock};
use job_tests::backends::Backends;
use job_tests::waiting::{PATIENCE, until};

use crate::workers::{Item, check, create, start_on, waiting};

/// Between two looks of a client that waits.
const POLL: Duration = Duration::from_millis(50);

/// A server without workers.
async fn beside(backends: &Backends) -> Engine {
    let (store, queue) = backends.server().await;
    Engine::start(store, queue, backends.settings())
}

pub async fn a_paused_job_is_stowed_and_goes_on_where_it_was(backends: &Backends) {
    let item = Item::new();
    let (store, queue) = backends.server().await;
    let (workers, monitor) = start_on(store, queue, backends, item.clone());
    let server = beside(backends).await;
    let service = server.service();
    let key = create(&server, backends, "j", 100).await;
    let other = create(&server, backends, "other", 10).await;
    item.permits.add_permits(20);
    until("twenty items are done", async || item.done() == 20).await;
    service.act(&key, Action::Pause).await.unwrap();
    // The few that run already finish; all others are stowed, and the other job's go on.
    item.permits.add_permits(1_000);
    let finished = service.wait(&other, PATIENCE, POLL).await.unwrap();
    assert_eq!(finished.status, JobStatus::Completed);
    let queues = [backends.queue("items"), backends.paused_queue()];
    until("each item is done or sent to be stowed, and none waits", async || {
        let counts = monitor.counts();
        counts.succeeded + counts.paused == 110 && waiting(&server, &queues).await == 0
    })
    .await;
    // The split is a subtask as well. What is still to be reported would change the job while it is checked.
    let done = item.done() as u32 - 10 + 1;
    until("all that is done is reported", async || {
        service.get(&key).await.unwrap().subtasks.completed == done
    })
    .await;
    let paused = service.get(&key).await.unwrap();
    assert_eq!(paused.status, JobStatus::Paused);
    assert!(paused.subtasks.completed < 60, "{paused:?}");
    check(backends).await;

    service.act(&key, Action::Resume).await.unwrap();
    let job = service.wait(&key, PATIENCE, POLL).await.unwrap();
    assert_eq!((job.status, item.done()), (JobStatus::Completed, 110), "each item once");
    assert!(workers.stop().await && server.stop().await);
    check(backends).await;
}

pub async fn a_cancelled_job_stops_running_tasks_and_drops_the_others(backends: &Backends) {
    const ITEMS: u32 = 1_000;
    let item = Item::new();
    let (store, queue) = backends.server().await;
    let (workers, monitor) = start_on(store, queue, backends, item.clone());
    let server = beside(backends).await;
    let key = create(&server, backends, "j", ITEMS).await;
    item.permits.add_permits(10);
    until("ten items are done, and all are on the queue", async || {
        item.done() == 10 && server.service().get(&key).await.unwrap().subtasks.total == Some(ITEMS + 1)
    })
    .await;
    server.service().act(&key, Action::Cancel).await.unwrap();
    until("all items have ended", async || {
        let counts = monitor.counts();
        counts.succeeded + counts.discarded == u64::from(ITEMS)
    })
    .await;
    assert!(workers.stop().await);
    assert_eq!(waiting(&server, &[backends.queue("items")]).await, 0, "nothing was handed back");
    let job = server.service().get(&key).await.unwrap();
    assert_eq!((job.status, item.done()), (JobStatus::Cancelled, 10));
    assert!(server.stop().await);
    check(backends).await;
}

pub async fn a_worker_that_panics_fails_its_task_and_nothing_else(backends: &Backends) {
    struct Fussy;
    impl Worker for Fussy {
        type Task = u32;
        const KIND: &'static str = Item::KIND;
        async fn run(&self, item: u32, _: &TaskContext) -> WorkerResult {
            assert!(item != 7, "not the seven");
            Ok(Outcome::done())
        }
    }
    let (store, queue) = backends.server().await;
    let (engine, monitor) = start_on(store, queue, backends, Fussy);
    let key = create(&engine, backends, "j", 20).await;
    // What has not begun when the job has failed is no longer wanted.
    until("all items have ended", async || {
        let counts = monitor.counts();
        counts.succeeded + counts.failed + counts.discarded == 20
    })
    .await;
    let counts = monitor.counts();
    assert_eq!(counts.failed, 1, "{counts:?}");
    let service = engine.service();
    // Those that succeeded, and the one that split.
    until("all reports", async || {
        let job = service.get(&key).await.unwrap();
        job.failure_count == 1 && u64::from(job.subtasks.completed) == counts.succeeded + 1
    })
    .await;
    let job = service.get(&key).await.unwrap();
    assert_eq!((job.status, job.failure_count), (JobStatus::Failed, 1));
    assert!(job.failures[0].message.contains("not the seven"), "{:?}", job.failures);
    assert!(engine.stop().await);
    check(backends).await;
}

pub async fn waiting_for_a_job_ends_with_its_time(backends: &Backends) {
    let engine = beside(backends).await;
    let key = create(&engine, backends, "nobody works on it", 1).await;
    let waited = engine.service().wait(&key, Duration::from_millis(30), Duration::from_millis(10));
    let job = SystemClock::new().timeout(PATIENCE, waited).await.unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Waiting);
    assert!(engine.stop().await);
}
