//! The queues through which the parts of a CAF deployment speak to each other, where they are set up.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use job_core::clock::ManualClock;
use job_core::dispatcher::DispatcherSettings;
use job_core::message::TaskMessage;
use job_core::queue::{ConsumeOptions, Consumer, Delivery, Publication, TaskQueue};
use job_core::store::{Action, JobStore};
use job_core::{
    ClockExt, Engine, EngineSettings, ErrorKind, JobKey, JobService, JobStatus, NewJob, SystemClock,
    TaskSpec, Timestamp,
};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;

const PATIENCE: Duration = Duration::from_secs(30);

fn settings(dispatcher: DispatcherSettings) -> EngineSettings {
    EngineSettings { dispatcher: Some(dispatcher), ..EngineSettings::default() }
}

async fn create(service: &JobService, name: &str) -> JobKey {
    let key = JobKey::parse("acme", name).unwrap();
    let task = TaskSpec::json("W", "w-in", &()).unwrap();
    service.create(NewJob::new(key.clone(), task)).await.unwrap();
    key
}

async fn next(consumer: &mut Consumer) -> Delivery {
    SystemClock::new().timeout(PATIENCE, consumer.next()).await.expect("a message comes").unwrap()
}

async fn consume(queue: &MemoryQueue, name: &str) -> Consumer {
    queue.consume(name, ConsumeOptions { prefetch: 10 }).await.unwrap()
}

#[tokio::test]
async fn anything_on_the_wake_queue_makes_the_dispatcher_look() {
    let queue = MemoryQueue::new();
    let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
    // A clock that stands still: nobody polls.
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    let service = JobService::new(Arc::clone(&store)).with_clock(Arc::clone(&clock) as _);
    let dispatcher = DispatcherSettings { wake_queue: Some("wake".into()), ..DispatcherSettings::default() };
    let engine = Engine::start_with(service, Arc::new(queue.connect()), settings(dispatcher));
    let mut tasks = consume(&queue, "w-in").await;
    // Of another process: its signals do not reach this one.
    let elsewhere = JobService::new(store).with_clock(clock as _);
    for body in [&b"{\"taskId\":\"x\"}"[..], b"null", b"", b"\xff\xfe"] {
        let key = create(&elsewhere, &format!("j{}", body.len())).await;
        queue.publish(vec![Publication::new("wake", body.to_vec())]).await.unwrap();
        let delivery = next(&mut tasks).await;
        let message = TaskMessage::decode(&delivery.body).unwrap();
        assert_eq!(message.tracking.unwrap().job_task_id.unwrap(), key.to_string());
        delivery.ack().await.unwrap();
    }
    assert_eq!(queue.depth("wake").await.unwrap(), Some(0));
    drop(engine);
}

#[tokio::test]
async fn a_resumed_job_is_announced_once_and_only_then() {
    let queue = MemoryQueue::new();
    let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
    let service = JobService::new(store).with_resume_queue("resume");
    let engine =
        Engine::start_with(service, Arc::new(queue.connect()), settings(DispatcherSettings::default()));
    let (mut tasks, mut resumed) = (consume(&queue, "w-in").await, consume(&queue, "resume").await);
    let service = engine.service();
    let key = create(service, "job1").await;
    next(&mut tasks).await.ack().await.unwrap();
    // Dispatched, as the store has it too.
    while service.get(&key).await.unwrap().start_time.is_none() {
        tokio::task::yield_now().await;
    }
    // Not paused: refused, and nothing to announce.
    assert_eq!(service.act(&key, Action::Resume).await.unwrap_err().kind(), ErrorKind::IllegalTransition);
    assert!(service.act(&key, Action::Pause).await.unwrap());
    assert!(service.act(&key, Action::Resume).await.unwrap());
    let delivery = next(&mut resumed).await;
    let message = TaskMessage::decode(&delivery.body).unwrap();
    assert_eq!(message.task_classifier.as_deref(), Some("DocumentWorkerTask"));
    assert_eq!((message.to.as_deref(), message.tracking), (Some("resume"), None));
    let payload: serde_json::Value = serde_json::from_slice(&message.task_data.unwrap()).unwrap();
    assert_eq!(payload["customData"], serde_json::json!({ "partitionId": "acme", "jobId": "job1" }));
    delivery.ack().await.unwrap();
    assert_eq!(service.status(&key).await.unwrap(), JobStatus::Active);
    // A job that was never dispatched waits again, and is announced all the same.
    let later = JobKey::parse("acme", "later").unwrap();
    let task = TaskSpec::json("W", "w-in", &()).unwrap();
    service.create(NewJob::new(later.clone(), task).after([key.job.clone()])).await.unwrap();
    service.act(&later, Action::Pause).await.unwrap();
    service.act(&later, Action::Resume).await.unwrap();
    next(&mut resumed).await.ack().await.unwrap();
    assert_eq!(service.status(&later).await.unwrap(), JobStatus::Waiting);
    let unknown = JobKey::parse("acme", "unknown").unwrap();
    assert!(service.act(&unknown, Action::Resume).await.is_err());
    assert!(engine.stop().await);
}
