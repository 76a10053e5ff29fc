//! Dispatcher and tracker over RabbitMQ, with workers whose messages are those of Java, byte for byte.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures that a test cannot judge")]

mod broker;
mod java;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use job_core::dispatcher::{Dispatcher, DispatcherSettings, TrackingSettings};
use job_core::message::TaskMessage;
use job_core::queue::TaskQueue;
use job_core::tracker::{Tracker, TrackerCounts, TrackerSettings};
use job_core::{
    Clock, IdSource, Job, JobKey, JobService, JobStatus, NewJob, RandomIds, Shutdown, SystemClock, TaskSpec,
};
use job_queue_amqp::AmqpQueue;
use job_store_memory::MemoryStore;
use tokio::sync::watch;

use broker::{Broker, DEADLINE};
use java::{JavaWorker, entry, receive, report_message};

const TRACKING: &str = "jobtracking-in";

/// A dispatcher and a tracker, each with a connection of its own, on one store.
struct Engine {
    service: JobService,
    tracked: watch::Receiver<TrackerCounts>,
    shutdown: Shutdown,
    queues: [Arc<AmqpQueue>; 2],
}

impl Engine {
    async fn start(broker: &Broker) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let service = JobService::new(Arc::new(MemoryStore::new())).with_clock(Arc::clone(&clock));
        let queues = [Arc::new(broker.connect().await), Arc::new(broker.connect().await)];
        let queue = |index: usize| Arc::clone(&queues[index]) as Arc<dyn TaskQueue>;
        let shutdown = Shutdown::new();
        let settings = DispatcherSettings {
            tracking: TrackingSettings {
                service_url: Some("http://job-service:8080/job-service/v1".to_owned()),
                ..TrackingSettings::default()
            },
            ..DispatcherSettings::default()
        };
        let dispatcher = Dispatcher::new(
            Arc::clone(service.store()),
            queue(0),
            Arc::clone(&clock),
            service.signals().clone(),
            RandomIds.next(),
            settings,
        );
        shutdown.spawn(dispatcher.run(shutdown.child()));
        let tracker = Tracker::new(
            Arc::clone(service.store()),
            queue(1),
            clock,
            service.signals().clone(),
            TrackerSettings::new(TRACKING),
        );
        let tracked = tracker.counts();
        shutdown.spawn(tracker.run(shutdown.child()));
        Self { service, tracked, shutdown, queues }
    }

    async fn create(&self, id: &str) -> JobKey {
        let key = JobKey::parse("acme", id).unwrap();
        let task = TaskSpec {
            classifier: "BatchWorker".to_owned(),
            api_version: 1,
            data: Bytes::from_static(br#"{"batchDefinition":"[\"a1\",\"a2\"]"}"#),
            queue: "batch-in".to_owned(),
            target: Some("example-out".to_owned()),
        };
        self.service.create(NewJob::new(key.clone(), task)).await.unwrap();
        key
    }

    async fn finished(&self, key: &JobKey) -> Job {
        self.service.wait(key, DEADLINE, Duration::from_secs(1)).await.unwrap()
    }

    async fn stop(self) {
        assert!(self.shutdown.drain(self.service.clock().as_ref(), DEADLINE).await);
        for queue in self.queues {
            queue.close().await;
        }
    }
}

/// The value of a member that differs from run to run.
fn member<'a>(body: &'a str, name: &str) -> &'a str {
    let from = body.find(name).unwrap() + name.len();
    body[from..].split([':', ',', '"', '}']).find(|part| !part.is_empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_two_items_is_done_by_java_workers() {
    let broker = Broker::start().await;
    let worker = JavaWorker::start(&broker).await;
    for queue in ["batch-in", "example-in", "example-out", TRACKING] {
        worker.declare(queue).await;
    }
    let mut batches = worker.consume("batch-in").await;
    let engine = Engine::start(&broker).await;
    let key = engine.create("job1").await;

    // §4.8 and §1.1: what a Java reader gets.
    let first = receive(&mut batches).await;
    let body = std::str::from_utf8(&first.data).unwrap();
    let data = java::base64(r#"{"batchDefinition":"[\"a1\",\"a2\"]"}"#);
    let (task_id, checked) = (member(body, r#""taskId""#), member(body, r#""lastStatusCheckTime""#));
    let expected = format!(
        r#"{{"version":3,"taskId":"{task_id}","taskClassifier":"BatchWorker","taskApiVersion":1,"taskData":"{data}","taskStatus":"NEW_TASK","context":{{}},"to":"batch-in","tracking":{{"jobTaskId":"acme:job1","lastStatusCheckTime":{checked},"statusCheckIntervalMillis":5000,"statusCheckUrl":"http://job-service:8080/job-service/v1/partitions/acme/jobs/job1/status","trackingPipe":"jobtracking-in","trackTo":"example-out"}},"sourceInfo":null,"priority":null,"correlationId":null}}"#
    );
    assert_eq!(body, expected);
    assert_eq!(first.properties.content_type().as_ref().unwrap().as_str(), "text/plain");
    assert_eq!(first.properties.delivery_mode(), &Some(2));
    assert!(first.properties.headers().as_ref().unwrap().inner().is_empty());
    assert_eq!(first.properties.message_id().as_ref().unwrap().as_str(), task_id);

    // §3.2: the batch worker's report; then one report for each item, of which the second fails at first.
    let reports = [
        entry("acme:job1.1", "Progress"),
        entry("acme:job1.2", "Progress"),
        entry("acme:job1.3*", "Complete"),
    ];
    worker
        .publish(
            TRACKING,
            report_message("0d6f9c0e-53c1-4a39-9a41-57a4b1f3d1aa", TRACKING, &reports).as_bytes(),
        )
        .await;
    let failed = r#"{"jobTaskId":"acme:job1.2","status":"Failed","estimatedPercentageCompleted":0,"failure":{"failureId":"RESULT_EXCEPTION","failureTime":1732406405123,"failureSource":"example-worker","failureMessage":"\"class java.lang.IllegalStateException boom a.b.C.run(C.java:10)\""}}"#;
    worker.publish(TRACKING, report_message("r2", TRACKING, &[failed.to_owned()]).as_bytes()).await;
    let job = engine.finished(&key).await;
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(
        job.failures[0].message,
        r#""class java.lang.IllegalStateException boom a.b.C.run(C.java:10)""#
    );
    assert_eq!(job.failures[0].time.as_millis(), 1_732_406_405_123);

    worker
        .publish(TRACKING, report_message("r3", TRACKING, &[entry("acme:job1.2", "Complete")]).as_bytes())
        .await;
    // §4.3 and §4.10: real progress, and an old worker's result, which completes the item and is passed on.
    let progress = r#"{"jobTaskId":"acme:job1.1","estimatedPercentageCompleted":40}"#;
    worker
        .publish(TRACKING, java::tracking_message("p1", "JobTrackingWorker", TRACKING, progress).as_bytes())
        .await;
    let result = r#"{"version":3,"taskId":"6b1f6a34-3b4c-4f0e-9a57-1f2f6d9f2a01.1","taskClassifier":"ExampleWorker","taskApiVersion":1,"taskData":"eyJvdXQiOiIxYSJ9","taskStatus":"RESULT_SUCCESS","context":{"caf/worker":"c3RhdGUtMQ=="},"to":"example-out","tracking":{"jobTaskId":"acme:job1.1","lastStatusCheckTime":1732406405123,"statusCheckIntervalMillis":5000,"statusCheckUrl":"http://job-service:8080/job-service/v1/partitions/acme/jobs/job1/status","trackingPipe":"jobtracking-in","trackTo":"example-out"},"sourceInfo":{"name":"worker-example","version":"1.0.0"},"priority":null,"correlationId":null}"#;
    worker.publish(TRACKING, result.as_bytes()).await;
    let mut results = worker.consume("example-out").await;
    let passed_on = receive(&mut results).await;
    let tracking_from = result.find(r#""tracking":"#).unwrap();
    let tracking_to = result.find(r#","sourceInfo""#).unwrap();
    let without_tracking =
        format!(r#"{}"tracking":null{}"#, &result[..tracking_from], &result[tracking_to..]);
    assert_eq!(String::from_utf8(passed_on.data.clone()).unwrap(), without_tracking);

    broker::until("the job's completion", async || {
        engine.service.get(&key).await.unwrap().status == JobStatus::Completed
    })
    .await;
    let job = engine.service.get(&key).await.unwrap();
    assert_eq!((job.percentage.rounded(), job.failures.len()), (100.0, 0));
    assert_eq!(engine.tracked.borrow().refused, 0);
    broker::until("an empty queue", async || engine.queues[0].depth(TRACKING).await.unwrap() == Some(0))
        .await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_seen_within_milliseconds() {
    const JOBS: usize = 100;
    let broker = Broker::start().await;
    let worker = JavaWorker::start(&broker).await;
    worker.declare("batch-in").await;
    worker.declare(TRACKING).await;
    let mut batches = worker.consume("batch-in").await;
    let engine = Engine::start(&broker).await;
    let clock = SystemClock::new();
    let (mut until_started, mut until_completed) = (Vec::new(), Vec::new());
    for number in 0..JOBS {
        let start = clock.now();
        let key = engine.create(&format!("job{number}")).await;
        let first = receive(&mut batches).await;
        until_started.push(clock.now().since(start));
        let message = TaskMessage::decode(&first.data).unwrap();
        let task = message.tracking.unwrap().job_task_id.unwrap();
        assert_eq!(task, key.to_string());
        let start = clock.now();
        worker.publish(TRACKING, report_message("r", TRACKING, &[entry(&task, "Complete")]).as_bytes()).await;
        assert_eq!(engine.finished(&key).await.status, JobStatus::Completed);
        until_completed.push(clock.now().since(start));
    }
    for (what, times) in
        [("create to worker", &mut until_started), ("report to Completed", &mut until_completed)]
    {
        times.sort();
        println!(
            "{what}: p50 {:?}, p90 {:?}, max {:?}",
            times[JOBS / 2],
            times[JOBS * 9 / 10],
            times[JOBS - 1]
        );
    }
    // A generous bound: the machine may be busy.
    assert!(until_completed[JOBS / 2] < Duration::from_millis(200), "{:?}", until_completed[JOBS / 2]);
    engine.stop().await;
}
