//! What arrives on the tracking queue: reports in every form the contract knows, and everything that is not one.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_core::message::{
    HEADER_REJECTED, JOB_TRACKING_CLASSIFIER, TRACKING_REPORT_CLASSIFIER, TaskMessage, TaskStatus,
    TrackingInfo,
};
use job_core::queue::{ConsumeOptions, Delivery, Publication, TaskQueue};
use job_core::store::{Action, JobStore};
use job_core::{Engine, EngineSettings, Job, JobKey, JobStatus, NewJob, TaskSpec};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;

const TRACKING: &str = "jobtracking-in";
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    queue: Arc<MemoryQueue>,
    engine: Engine,
}

impl Bench {
    fn start() -> Self {
        Self::on(Arc::new(MemoryStore::new()))
    }

    fn on(store: Arc<dyn JobStore>) -> Self {
        let queue = Arc::new(MemoryQueue::new());
        let engine = Engine::start(store, Arc::clone(&queue) as _, EngineSettings::default());
        Self { queue, engine }
    }

    async fn create(&self, name: &str) -> JobKey {
        let key = JobKey::parse("p", name).unwrap();
        let task = TaskSpec::json("W", "w-in", &()).unwrap();
        self.engine.service().create(NewJob::new(key.clone(), task)).await.unwrap();
        key
    }

    async fn send(&self, body: impl Into<Bytes>) {
        self.queue.publish(vec![Publication::new(TRACKING, body)]).await.unwrap();
    }

    async fn report(&self, payload: &str) {
        self.send(message(TRACKING_REPORT_CLASSIFIER, payload)).await;
    }

    /// Waits until the tracker has settled this many deliveries.
    async fn settled(&self, deliveries: u64) {
        let mut counts = self.engine.tracked().unwrap();
        let clock = Arc::clone(self.engine.clock());
        let reached = async { counts.wait_for(|counts| counts.deliveries >= deliveries).await.map(|_| ()) };
        let reached = job_core::ClockExt::timeout(clock.as_ref(), PATIENCE, reached).await;
        assert!(reached.is_ok(), "only {:?}", self.engine.tracked().unwrap().borrow());
    }

    async fn get(&self, key: &JobKey) -> Job {
        self.engine.service().get(key).await.unwrap()
    }

    async fn take(&self, queue: &str) -> Vec<Delivery> {
        let waiting = self.queue.depth(queue).await.unwrap().unwrap_or(0);
        let consumer = self.queue.consume(queue, ConsumeOptions { prefetch: 1_000 }).await.unwrap();
        consumer.take(usize::try_from(waiting).unwrap()).collect().await
    }
}

fn message(classifier: &str, payload: &str) -> Bytes {
    TaskMessage::new_task("t", classifier, 1, Bytes::from(payload.to_owned()), TRACKING).encode()
}

#[tokio::test]
async fn reports_in_every_form_reach_the_job() {
    let bench = Bench::start();
    let key = bench.create("j").await;
    bench.report(r#"{"trackingReports":[{"jobTaskId":"p:j.1","status":"Complete","estimatedPercentageCompleted":0},{"jobTaskId":"p:j.3*","status":"Complete","estimatedPercentageCompleted":0}]}"#).await;
    bench
        .send(message(JOB_TRACKING_CLASSIFIER, r#"{"jobTaskId":"p:j.2","estimatedPercentageCompleted":40}"#))
        .await;
    bench.settled(2).await;
    let job = bench.get(&key).await;
    assert_eq!((job.status, job.percentage.rounded()), (JobStatus::Active, 80.0));
    bench.report(r#"{"trackingReports":[{"jobTaskId":"p:j.2","status":"Failed","estimatedPercentageCompleted":0,"failure":{"failureId":"RESULT_EXCEPTION","failureTime":1732406405123,"failureSource":"example-worker","failureMessage":"boom"}}]}"#).await;
    bench.settled(3).await;
    let job = bench.get(&key).await;
    assert_eq!((job.status, job.failures[0].message.as_str()), (JobStatus::Failed, "boom"));
    bench.report(r#"{"trackingReports":[{"jobTaskId":"p:j.2","status":"Complete"}]}"#).await;
    bench.settled(4).await;
    let job = bench.get(&key).await;
    assert_eq!((job.status, job.failure_count), (JobStatus::Completed, 0));
}

#[tokio::test]
async fn messages_of_old_workers_are_recorded_and_sent_on() {
    let bench = Bench::start();
    let (live, dead) = (bench.create("live").await, bench.create("dead").await);
    bench.engine.service().act(&dead, Action::Cancel).await.unwrap();
    for job in ["live", "dead", "missing"] {
        let mut result = TaskMessage::new_task("t", "W", 1, Bytes::from_static(b"out"), "w-out");
        result.task_status = Some(TaskStatus::ResultSuccess);
        result.tracking = Some(TrackingInfo {
            job_task_id: Some(format!("p:{job}")),
            last_status_check_time: None,
            status_check_interval_millis: 0,
            status_check_url: None,
            tracking_pipe: Some(TRACKING.into()),
            track_to: Some("W-OUT".into()),
        });
        let mut publication = Publication::new(TRACKING, result.encode());
        publication.headers.insert("x-mine".into(), "1".into());
        bench.queue.publish(vec![publication]).await.unwrap();
    }
    bench.settled(3).await;
    assert_eq!(bench.get(&live).await.status, JobStatus::Completed);
    assert_eq!(bench.get(&dead).await.status, JobStatus::Cancelled);
    let forwarded = bench.take("w-out").await;
    assert_eq!(forwarded.len(), 1, "only the living job's");
    assert_eq!(forwarded[0].headers["x-mine"], "1");
    assert_eq!(TaskMessage::decode(&forwarded[0].body).unwrap().tracking, None, "tracking ends at trackTo");
}

/// Bodies that are no message at all.
fn undecodable() -> Vec<Vec<u8>> {
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000)).into_bytes();
    let mut bodies: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "true",
        "7",
        "\"text\"",
        "[]",
        "{}",
        "{",
        "}",
        "{\"taskId\":",
        "{\"taskId\":null}",
        "{\"taskId\":7}",
        "{\"taskId\":[]}",
        "{\"taskId\":\"t\",\"taskData\":7}",
        "{\"taskId\":\"t\",\"taskData\":{\"inline\":1}}",
        "{\"taskId\":\"t\",\"taskData\":\"no padding!\"}",
        "{\"taskId\":\"t\",\"taskData\":\"e30\"}",
        "{\"taskId\":\"t\",\"taskData\":[1,2,999]}",
        "{\"taskId\":\"t\",\"taskStatus\":\"DONE\"}",
        "{\"taskId\":\"t\",\"taskStatus\":9}",
        "{\"taskId\":\"t\",\"taskApiVersion\":\"one\"}",
        "{\"taskId\":\"t\",\"taskApiVersion\":99999999999}",
        "{\"taskId\":\"t\",\"taskApiVersion\":1e300}",
        "{\"taskId\":\"t\",\"context\":[]}",
        "{\"taskId\":\"t\",\"context\":{\"k\":\"%%%\"}}",
        "{\"taskId\":\"t\",\"to\":{}}",
        "{\"taskId\":\"t\",\"tracking\":\"p:j\"}",
        "{\"taskId\":\"t\",\"tracking\":{\"lastStatusCheckTime\":\"yesterday\"}}",
        "{\"taskId\":\"t\",\"sourceInfo\":[1]}",
        "{\"taskId\":\"t\"\"to\":\"x\"}",
        "{'taskId':'t'}",
        "\u{feff}{\"taskId\":\"t\"}",
        "<task/>",
        "taskId=t",
    ]
    .into_iter()
    .map(|body| body.as_bytes().to_vec())
    .collect();
    bodies.extend([b"\xff\xfe\x00".to_vec(), b"{\"taskId\":\"\xc3\x28\"}".to_vec(), b"\0\0\0\0".to_vec()]);
    bodies.extend([deep("[", "]"), deep("{\"a\":", "}"), vec![b'x'; 1 << 20]]);
    bodies
}

/// Messages for this queue whose payload is not what its classifier promises.
fn misleading() -> Vec<Bytes> {
    let payloads = [
        "",
        "null",
        "[]",
        "{}",
        "{\"trackingReports\":null}",
        "{\"trackingReports\":{}}",
        "{\"trackingReports\":[],\"more\":1}",
        "{\"trackingReports\":[null]}",
        "{\"trackingReports\":[7]}",
        "{\"trackingReports\":[{}]}",
        "{\"trackingReports\":[{\"jobTaskId\":null,\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1\",\"status\":\"Done\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1\",\"status\":\"Failed\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1\",\"status\":\"Complete\",\"extra\":1}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1\",\"status\":\"Progress\",\"estimatedPercentageCompleted\":101}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1\",\"status\":\"Progress\",\"estimatedPercentageCompleted\":-1}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.0\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.-1\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.1.\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j*\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\":j.1\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:.1\",\"status\":\"Complete\"}]}",
        "{\"trackingReports\":[{\"jobTaskId\":\"p:j.99999999999\",\"status\":\"Complete\"}]}",
    ];
    let too_deep = format!(
        "{{\"trackingReports\":[{{\"jobTaskId\":\"p:j{}\",\"status\":\"Complete\"}}]}}",
        ".1".repeat(33)
    );
    let mut bodies: Vec<Bytes> = payloads
        .iter()
        .copied()
        .chain([too_deep.as_str()])
        .map(|payload| message(TRACKING_REPORT_CLASSIFIER, payload))
        .collect();
    for payload in
        ["{}", "{\"jobTaskId\":\"p:j.1\",\"estimatedPercentageCompleted\":140}", "{\"jobTaskId\":7}"]
    {
        bodies.push(message(JOB_TRACKING_CLASSIFIER, payload));
    }
    bodies.push(message("OcrWorker", "{}"));
    bodies.push(message("", "{}"));
    bodies
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_report_is_set_aside_once_and_its_neighbours_count() {
    let bench = Bench::start();
    let key = bench.create("j").await;
    let (undecodable, misleading) = (undecodable(), misleading());
    let wrong = undecodable.len() + misleading.len();
    assert!(wrong >= 60, "{wrong}");
    let total = u32::try_from(wrong).unwrap();
    let bodies = undecodable.iter().cloned().map(Bytes::from).chain(misleading.iter().cloned());
    // Between any two wrong messages there is a right one.
    for (number, body) in (1..).zip(bodies) {
        let mark = if number == total { "*" } else { "" };
        bench.send(body).await;
        bench
            .report(&format!(
                r#"{{"trackingReports":[{{"jobTaskId":"p:j.{number}{mark}","status":"Complete"}}]}}"#
            ))
            .await;
    }
    bench.settled(2 * u64::from(total)).await;
    let job = bench.get(&key).await;
    assert_eq!((job.status, job.failure_count), (JobStatus::Completed, 0));
    let counts = *bench.engine.tracked().unwrap().borrow();
    assert_eq!((counts.refused, counts.counted), (u64::from(total), u64::from(total)));

    let rejected = bench.take("jobtracking-in-reject").await;
    assert_eq!(rejected.len(), undecodable.len());
    for delivery in &rejected {
        assert_eq!(delivery.headers[HEADER_REJECTED], "TASKMESSAGE_INVALID");
        assert!(!delivery.headers["x-job-service-reason"].is_empty());
        assert!(undecodable.iter().any(|body| *body == delivery.body), "the same bytes");
    }
    let answers = bench.take("jobtracking-in-err").await;
    assert_eq!(answers.len(), misleading.len());
    for delivery in &answers {
        let answer = TaskMessage::decode(&delivery.body).unwrap();
        assert!(matches!(answer.task_status, Some(TaskStatus::InvalidTask | TaskStatus::ResultFailure)));
        assert!(!answer.task_data.unwrap().is_empty(), "with a reason");
    }
    assert_eq!(bench.queue.depth(TRACKING).await.unwrap(), Some(0), "nothing came back");
}

#[tokio::test]
async fn reports_about_a_damaged_job_are_answered_and_its_neighbours_count() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), StoreFaults::default(), 1));
    let bench = Bench::on(Arc::clone(&store) as _);
    let (healthy, damaged) = (bench.create("healthy").await, bench.create("damaged").await);
    store.damage(damaged.clone());
    let report = |job| format!(r#"{{"trackingReports":[{{"jobTaskId":"p:{job}.1*","status":"Complete"}}]}}"#);
    for job in ["damaged", "healthy", "damaged"] {
        bench.report(&report(job)).await;
    }
    bench.settled(3).await;
    assert_eq!(bench.get(&healthy).await.status, JobStatus::Completed);
    assert_eq!(bench.get(&damaged).await.status, JobStatus::Waiting);
    let answers = bench.take("jobtracking-in-err").await;
    assert_eq!(answers.len(), 2);
    for delivery in &answers {
        let answer = TaskMessage::decode(&delivery.body).unwrap();
        assert_eq!(answer.task_status, Some(TaskStatus::ResultFailure));
        let reason = String::from_utf8(answer.task_data.unwrap().to_vec()).unwrap();
        assert!(reason.contains("injected: it makes no sense"), "{reason}");
    }
    assert_eq!(bench.queue.depth(TRACKING).await.unwrap(), Some(0), "nothing came back");
}
