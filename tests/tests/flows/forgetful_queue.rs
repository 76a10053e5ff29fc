//! An engine on a durable store whose queue lived in the process that was killed.

use std::sync::Arc;

use job_core::JobStatus;
use job_core::store::Action;
use job_queue_memory::MemoryQueue;
use job_tests::backends::Backends;
use job_tests::waiting::{PATIENCE, until};

use crate::workers::{Item, check, create, start_on};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_queue_has_forgotten_is_done_again() {
    let (backends, item) = (Backends::memory(), Item::new());
    let (store, _) = backends.server().await;
    let start = || start_on(Arc::clone(&store), Arc::new(MemoryQueue::new()), &backends, item.clone()).0;
    let engine = start();
    let key = create(&engine, &backends, "j", 40).await;
    item.permits.add_permits(10);
    until("ten are done", async || item.done() == 10).await;
    // None of its items gets a permit.
    let paused = create(&engine, &backends, "paused", 5).await;
    until("both are dispatched", async || {
        let jobs = store.get(&[key.clone(), paused.clone()]).await.unwrap();
        jobs.iter().flatten().all(|job| job.start_time.is_some())
    })
    .await;
    engine.service().act(&paused, Action::Pause).await.unwrap();
    assert!(engine.stop().await);

    let engine = start();
    item.permits.add_permits(1_000);
    let job = engine.service().wait(&key, PATIENCE, PATIENCE).await.unwrap();
    assert_eq!((job.status, job.subtasks.total), (JobStatus::Completed, Some(41)), "{job:#?}");
    engine.service().act(&paused, Action::Resume).await.unwrap();
    let job = engine.service().wait(&paused, PATIENCE, PATIENCE).await.unwrap();
    assert_eq!((job.status, job.subtasks.total), (JobStatus::Completed, Some(6)), "{job:#?}");
    assert!(engine.stop().await);
    check(&backends).await;
}
