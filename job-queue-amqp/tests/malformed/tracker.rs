//! The tracking queue: what cannot be read is put on the reject queue, what makes no sense is answered on the error queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use job_core::message::{TaskMessage, TaskStatus};
use job_core::queue::{Delivery, TaskQueue};
use job_core::tracker::{Tracker, TrackerSettings};
use job_core::{Clock, JobKey, JobService, JobStatus, NewJob, Shutdown, SystemClock, TaskSpec};
use job_store_memory::MemoryStore;

use crate::broker::{Broker, DEADLINE, until};
use crate::corpus::{WRONG_IDS, message, unreadable};
use crate::java::{JavaWorker, base64, entry, report_message, tracking_message};
use crate::{drain, is_set_aside};

const TRACKING: &str = "jobtracking-in";

/// What is to become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It cannot be read: its bytes go to the reject queue, with a reason that contains this.
    Rejected(&'static str),
    /// It is answered on the error queue with this status and a reason that contains this.
    Answered(TaskStatus, &'static str),
}

use Fate::{Answered, Rejected};
use TaskStatus::{InvalidTask, ResultFailure};

struct Case {
    name: String,
    body: Vec<u8>,
    fate: Fate,
}

fn case(name: impl Into<String>, body: impl Into<Vec<u8>>, fate: Fate) -> Case {
    Case { name: name.into(), body: body.into(), fate }
}

/// A good message with one member replaced; `name` doubles as its task id.
fn with(name: &str, member: &str, value: &str) -> String {
    let data = format!("{:?}", base64(r#"{"trackingReports":[]}"#));
    let usual = [("taskClassifier", r#""TrackingReportTask""#), ("taskData", data.as_str())];
    message(name, TRACKING, &[&usual[..], &[(member, value)]].concat())
}

fn payload(name: &str, payload: &str) -> String {
    tracking_message(name, "TrackingReportTask", TRACKING, payload)
}

fn one_entry(name: &str, entry: &str) -> String {
    payload(name, &format!(r#"{{"trackingReports":[{entry}]}}"#))
}

fn complete(name: &str, task: &str) -> String {
    one_entry(name, &entry(task, "Complete"))
}

/// Messages that are read, and say something that this queue cannot use.
fn wrong_requests() -> Vec<Case> {
    let not_for_us = |name: &'static str, classifier: &str| {
        case(
            name,
            with(name, "taskClassifier", classifier),
            Answered(InvalidTask, "found on queue for JobTrackingWorker"),
        )
    };
    let invalid = |name: &'static str, data: &str| {
        case(name, payload(name, data), Answered(InvalidTask, "Invalid input message"))
    };
    vec![
        not_for_us("unknown classifier", r#""OcrWorker""#),
        not_for_us("classifier null", "null"),
        not_for_us("classifier empty", r#""""#),
        not_for_us("classifier in lower case", r#""trackingreporttask""#),
        case(
            "newer version",
            with("newer version", "taskApiVersion", "2"),
            Answered(InvalidTask, "newer than 1"),
        ),
        case("no data", with("no data", "taskData", "null"), Answered(InvalidTask, "not specified")),
        invalid("empty payload", ""),
        invalid("payload null", "null"),
        invalid("payload a list", "[]"),
        invalid("payload an empty object", "{}"),
        invalid("payload cut", r#"{"trackingReports":[{"jobTaskId""#),
        invalid("payload with a member more", r#"{"trackingReports":[],"more":1}"#),
        invalid("reports null", r#"{"trackingReports":null}"#),
        invalid("reports an object", r#"{"trackingReports":{}}"#),
        invalid("reports a text", r#"{"trackingReports":"none"}"#),
        invalid("reports very deep", &format!(r#"{{"trackingReports":{}"#, "[".repeat(10_000))),
    ]
}

/// Reports of one entry that says nothing that can be recorded.
fn wrong_entries() -> Vec<Case> {
    let mut cases: Vec<Case> = WRONG_IDS
        .iter()
        .map(|(name, id)| (*name, id()))
        .map(|(name, id)| case(name, complete(name, &id), Answered(ResultFailure, "PROGRESS_UPDATE_FAILED")))
        .collect();
    let entries: &[(&str, &str)] = &[
        ("entry null", "null"),
        ("entry a number", "7"),
        ("entry a list", "[]"),
        ("entry empty", "{}"),
        ("entry without id", r#"{"status":"Complete","estimatedPercentageCompleted":0}"#),
        ("entry with id null", r#"{"jobTaskId":null,"status":"Complete","estimatedPercentageCompleted":0}"#),
        (
            "entry with a number for id",
            r#"{"jobTaskId":5,"status":"Complete","estimatedPercentageCompleted":0}"#,
        ),
        ("entry without status", r#"{"jobTaskId":"acme:job1.1","estimatedPercentageCompleted":0}"#),
        (
            "entry with status null",
            r#"{"jobTaskId":"acme:job1.1","status":null,"estimatedPercentageCompleted":0}"#,
        ),
        (
            "entry with unknown status",
            r#"{"jobTaskId":"acme:job1.1","status":"Done","estimatedPercentageCompleted":0}"#,
        ),
        (
            "entry over 100",
            r#"{"jobTaskId":"acme:job1.1","status":"Progress","estimatedPercentageCompleted":101}"#,
        ),
        (
            "entry below 0",
            r#"{"jobTaskId":"acme:job1.1","status":"Progress","estimatedPercentageCompleted":-1}"#,
        ),
        (
            "entry in words",
            r#"{"jobTaskId":"acme:job1.1","status":"Progress","estimatedPercentageCompleted":"ten"}"#,
        ),
        (
            "entry with a member more",
            r#"{"jobTaskId":"acme:job1.1","status":"Complete","estimatedPercentageCompleted":0,"more":1}"#,
        ),
        (
            "failed without failure",
            r#"{"jobTaskId":"acme:job1.1","status":"Failed","estimatedPercentageCompleted":0}"#,
        ),
        (
            "failed with a text",
            r#"{"jobTaskId":"acme:job1.1","status":"Failed","estimatedPercentageCompleted":0,"failure":"boom"}"#,
        ),
        (
            "failed with a member more",
            r#"{"jobTaskId":"acme:job1.1","status":"Failed","estimatedPercentageCompleted":0,"failure":{"more":1}}"#,
        ),
        (
            "failed at no time",
            r#"{"jobTaskId":"acme:job1.1","status":"Failed","estimatedPercentageCompleted":0,"failure":{"failureTime":"never"}}"#,
        ),
    ];
    cases.extend(entries.iter().map(|(name, entry)| {
        case(*name, one_entry(name, entry), Answered(ResultFailure, "PROGRESS_UPDATE_FAILED"))
    }));
    let percentages: &[(&str, &str, Fate)] = &[
        (
            "progress over 100",
            r#"{"jobTaskId":"acme:job1.1","estimatedPercentageCompleted":100.5}"#,
            Answered(ResultFailure, "0 to 100"),
        ),
        (
            "progress of a wrong id",
            r#"{"jobTaskId":"acme:job1.x","estimatedPercentageCompleted":5}"#,
            Answered(ResultFailure, "PROGRESS"),
        ),
        ("progress null", "null", Answered(InvalidTask, "Invalid input")),
        (
            "progress without id",
            r#"{"estimatedPercentageCompleted":5}"#,
            Answered(InvalidTask, "Invalid input"),
        ),
        (
            "progress with a member more",
            r#"{"jobTaskId":"acme:job1.1","estimatedPercentageCompleted":5,"more":1}"#,
            Answered(InvalidTask, "Invalid input"),
        ),
    ];
    cases.extend(percentages.iter().map(|(name, data, fate)| {
        case(*name, tracking_message(name, "JobTrackingWorker", TRACKING, data), *fate)
    }));
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_set_aside_once_and_its_neighbours_count() {
    let bodies = unreadable(TRACKING).into_iter();
    let mut cases: Vec<Case> =
        bodies.map(|body| case(body.name, body.bytes, Rejected(body.reason))).collect();
    assert!(cases.len() >= 200, "{}", cases.len());
    cases.extend(wrong_requests());
    cases.extend(wrong_entries());
    let broker = Broker::start().await;
    let worker = JavaWorker::start(&broker).await;
    worker.declare(TRACKING).await;
    let queue = Arc::new(broker.connect().await);

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let service = JobService::new(Arc::new(MemoryStore::new())).with_clock(Arc::clone(&clock));
    let key = JobKey::parse("acme", "neighbours").unwrap();
    let task = TaskSpec::json("W", "w-in", &()).unwrap();
    service.create(NewJob::new(key.clone(), task)).await.unwrap();

    // A good report before each, and one behind the last.
    for (index, case) in cases.iter().enumerate() {
        let good = complete("good", &format!("acme:neighbours.{}", index + 1));
        worker.publish(TRACKING, good.as_bytes()).await;
        worker.publish(TRACKING, &case.body).await;
    }
    // Also a message with both: its good entries count.
    let last = format!("acme:neighbours.{}*", cases.len() + 1);
    let entries = [entry("acme:neighbours.1", "Complete"), "7".to_owned(), entry(&last, "Complete")];
    worker.publish(TRACKING, report_message("mixed", TRACKING, &entries).as_bytes()).await;

    let shutdown = Shutdown::new();
    let settings = TrackerSettings::new(TRACKING);
    let (errors, rejects) = (settings.error_queue.clone(), settings.reject_queue.clone());
    let tracker = Tracker::new(
        Arc::clone(service.store()),
        Arc::clone(&queue) as Arc<dyn TaskQueue>,
        Arc::clone(&clock),
        service.signals().clone(),
        settings,
    );
    let counts = tracker.counts();
    shutdown.spawn(tracker.run(shutdown.child()));
    let job = service.wait(&key, DEADLINE, Duration::from_secs(1)).await.unwrap();
    assert_eq!(job.status, JobStatus::Completed);
    let deliveries = 2 * cases.len() as u64 + 1;
    until("all deliveries", async || counts.borrow().deliveries == deliveries).await;
    until("an empty queue", async || queue.depth(TRACKING).await.unwrap() == Some(0)).await;
    assert!(shutdown.drain(clock.as_ref(), DEADLINE).await);
    let counted = *counts.borrow();
    assert_eq!(counted.refused, cases.len() as u64 + 1, "{counted:?}");
    assert_eq!((counted.counted, counted.duplicates, counted.ignored), (cases.len() as u64 + 1, 1, 0));

    let is_rejected = |case: &&Case| matches!(case.fate, Rejected(_));
    let rejected = drain(&*queue, &rejects, cases.iter().filter(is_rejected).count()).await;
    let answered = drain(&*queue, &errors, cases.len() - rejected.len() + 1).await;
    let reasons: BTreeMap<&[u8], &Delivery> =
        rejected.iter().map(|delivery| (&delivery.body[..], delivery)).collect();
    let answers: BTreeMap<String, TaskMessage> = answered
        .iter()
        .map(|delivery| TaskMessage::decode(&delivery.body).unwrap())
        .map(|answer| (answer.task_id.clone(), answer))
        .collect();
    assert_eq!((reasons.len(), answers.len()), (rejected.len(), answered.len()), "something came twice");
    assert!(answers.contains_key("mixed"));
    for case in &cases {
        match case.fate {
            Rejected(text) => {
                let rejected = reasons.get(&case.body[..]);
                is_set_aside(
                    rejected.unwrap_or_else(|| panic!("{} is missing", case.name)),
                    &case.name,
                    text,
                );
            }
            Answered(status, text) => {
                let answer = answers.get(&case.name).unwrap_or_else(|| panic!("{} is missing", case.name));
                assert_eq!(answer.task_status, Some(status), "{}", case.name);
                let data = String::from_utf8_lossy(answer.task_data.as_deref().unwrap()).into_owned();
                assert!(data.contains(text), "{}: {data}", case.name);
            }
        }
    }
    println!(
        "{} malformed messages: {} rejected, {} answered",
        cases.len(),
        rejected.len(),
        answered.len() - 1
    );
    queue.close().await;
}
