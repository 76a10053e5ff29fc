//! The queue of wake-ups: whatever is on it is a wake-up. It is acked once, nothing is answered, and jobs go on being
//! dispatched.

use std::sync::Arc;

use job_core::clock::ManualClock;
use job_core::dispatcher::{Dispatcher, DispatcherSettings};
use job_core::message::TaskMessage;
use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::{IdSource, JobKey, JobService, NewJob, RandomIds, Shutdown, SystemClock, TaskSpec, Timestamp};
use job_store_memory::MemoryStore;

use crate::broker::{Broker, DEADLINE, until};
use crate::corpus::{message, unreadable};
use crate::drain;
use crate::java::JavaWorker;

const WAKE: &str = "jobservicescheduler-in";
const TASKS: &str = "w-in";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_it_is_it_wakes_once_and_jobs_are_dispatched() {
    let bodies = unreadable(WAKE);
    let broker = Broker::start().await;
    let java = JavaWorker::start(&broker).await;
    java.declare(WAKE).await;
    let queue = Arc::new(broker.connect().await);
    let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
    // A clock that stands still: nobody polls, so that only a wake-up starts a job of another process.
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    let (here, elsewhere) = (JobService::new(Arc::clone(&store)), JobService::new(Arc::clone(&store)));
    let elsewhere = elsewhere.with_clock(Arc::clone(&clock) as _);
    let settings = DispatcherSettings { wake_queue: Some(WAKE.into()), ..DispatcherSettings::default() };
    let dispatcher = Dispatcher::new(
        store,
        Arc::clone(&queue) as Arc<dyn TaskQueue>,
        clock,
        here.signals().clone(),
        RandomIds.next(),
        settings,
    );
    let shutdown = Shutdown::new();
    shutdown.spawn(dispatcher.run(shutdown.child()));

    let mut created = 0;
    for (index, body) in bodies.iter().enumerate() {
        // Now and then a job, which nothing but these bodies announces.
        if index % 50 == 0 {
            let key = JobKey::parse("acme", format!("job{index}")).unwrap();
            elsewhere.create(NewJob::new(key, TaskSpec::json("W", TASKS, &()).unwrap())).await.unwrap();
            created += 1;
        }
        java.publish(WAKE, &body.bytes).await;
        if index % 50 == 0 {
            until("the job's dispatch", async || queue.depth(TASKS).await.unwrap() == Some(created)).await;
        }
    }
    // Good messages that make no sense here are wake-ups, too.
    java.publish(WAKE, message("stray", TASKS, &[]).as_bytes()).await;
    until("an empty queue", async || queue.depth(WAKE).await.unwrap() == Some(0)).await;
    assert!(shutdown.drain(&SystemClock::new(), DEADLINE).await);
    queue.close().await;

    // Nothing was left in hand, and so comes again; nothing was set aside or sent on.
    let queue = broker.connect().await;
    drain(&queue, WAKE, 0).await;
    for name in [format!("{WAKE}-reject"), format!("{WAKE}-err")] {
        assert_eq!(queue.depth(&name).await.unwrap(), None, "{name}");
    }
    let tasks = drain(&queue, TASKS, usize::try_from(created).unwrap()).await;
    assert!(tasks.iter().all(|delivery| TaskMessage::decode(&delivery.body).is_ok()));
    println!("{} bodies woke the dispatcher once each", bodies.len() + 1);
    queue.close().await;
}
