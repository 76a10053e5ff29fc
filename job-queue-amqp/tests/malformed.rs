//! Messages that are not what they should be, on the tracking queue of a real broker: each is set aside once, with its
//! reason, and the ones next to it count.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures that a test cannot judge")]

mod broker;
mod java;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use job_core::message::{HEADER_REJECTED, TaskMessage, TaskStatus};
use job_core::queue::{ConsumeOptions, Delivery, TaskQueue};
use job_core::tracker::{Tracker, TrackerSettings};
use job_core::{Clock, JobKey, JobService, JobStatus, NewJob, Shutdown, SystemClock, TaskSpec};
use job_store_memory::MemoryStore;

use broker::{Broker, DEADLINE, until, within};
use java::{JavaWorker, base64, entry, report_message, tracking_message};

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
    name: &'static str,
    body: Vec<u8>,
    fate: Fate,
}

fn case(name: &'static str, body: impl Into<Vec<u8>>, fate: Fate) -> Case {
    Case { name, body: body.into(), fate }
}

/// A good message with one member replaced; `name` doubles as its task id.
fn with(name: &str, member: &str, value: &str) -> String {
    let members = [
        ("version", "3".to_owned()),
        ("taskId", format!("{name:?}")),
        ("taskClassifier", r#""TrackingReportTask""#.to_owned()),
        ("taskApiVersion", "1".to_owned()),
        ("taskData", format!("{:?}", base64(r#"{"trackingReports":[]}"#))),
        ("taskStatus", r#""NEW_TASK""#.to_owned()),
        ("context", "{}".to_owned()),
        ("to", format!("{TRACKING:?}")),
        ("tracking", "null".to_owned()),
        ("sourceInfo", "null".to_owned()),
        ("priority", "null".to_owned()),
        ("correlationId", "null".to_owned()),
    ];
    let written: Vec<String> = members
        .iter()
        .map(|(known, usual)| format!("{known:?}:{}", if *known == member { value } else { usual }))
        .collect();
    format!("{{{}}}", written.join(","))
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

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Bodies that are no message at all.
fn unreadable() -> Vec<Case> {
    let good = complete("good", "acme:other.1");
    let cut = |at: usize| good.as_bytes()[..at].to_vec();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let deep =
        |depth: usize| format!(r#"{{"taskId":"x","version":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth));
    vec![
        case("nothing", "", Rejected("EOF")),
        case("white space", " \n\t ", Rejected("EOF")),
        case("null", "null", Rejected("null")),
        case("a truth value", "true", Rejected("invalid type")),
        case("a number", "12", Rejected("invalid type")),
        case("a text", r#""message""#, Rejected("invalid type")),
        case("an empty list", "[]", Rejected("")),
        case("a list of a message", format!("[{good}]"), Rejected("")),
        case("an empty object", "{}", Rejected("taskId")),
        case("a closing brace", "}", Rejected("expected value")),
        case("cut after 1 byte", cut(1), Rejected("EOF")),
        case("cut in a name", cut(7), Rejected("EOF")),
        case("cut in a value", cut(30), Rejected("EOF")),
        case("cut in the data", cut(120), Rejected("EOF")),
        case("cut in the middle", cut(good.len() / 2), Rejected("EOF")),
        case("cut before the end", cut(good.len() - 1), Rejected("EOF")),
        case("without its beginning", good.as_bytes()[1..].to_vec(), Rejected("")),
        case("UTF-16", utf16, Rejected("")),
        case("a byte order mark", bytes(&[b"\xef\xbb\xbf", good.as_bytes()]), Rejected("expected value")),
        case(
            "invalid UTF-8 in a value",
            bytes(&[br#"{"taskId":"a"#, b"\xff\xfe", br#"b"}"#]),
            Rejected("unicode"),
        ),
        case(
            "a cut UTF-8 sequence",
            bytes(&[br#"{"taskId":"a"#, b"\xe2\x82", br#"b"}"#]),
            Rejected("unicode"),
        ),
        case(
            "invalid UTF-8 in a name",
            bytes(&[br#"{"task"#, b"\xc0\xaf", br#"Id":"a"}"#]),
            Rejected("unicode"),
        ),
        case("half a surrogate pair", r#"{"taskId":"\ud800"}"#, Rejected("")),
        case("a raw line break in a text", "{\"taskId\":\"a\nb\"}", Rejected("control character")),
        case("NUL bytes", vec![0; 100], Rejected("expected value")),
        case("random bytes", (0..=255).rev().collect::<Vec<u8>>(), Rejected("expected value")),
        case("XML", "<message taskId='x'/>", Rejected("expected value")),
        case("single quotes", "{'taskId':'x'}", Rejected("key must be a string")),
        case("a trailing comma", r#"{"taskId":"x",}"#, Rejected("trailing comma")),
        case("a comment", r#"{/* x */"taskId":"x"}"#, Rejected("key must be a string")),
        case("not a number", r#"{"taskId":"x","taskApiVersion":NaN}"#, Rejected("expected value")),
        case("deep", deep(200), Rejected("recursion limit")),
        case("very deep", deep(100_000), Rejected("recursion limit")),
        case("open brackets only", "[".repeat(100_000), Rejected("")),
        case("a gzip stream", b"\x1f\x8b\x08\x00\x00\x00\x00\x00".to_vec(), Rejected("expected value")),
    ]
}

/// Messages with a member of a wrong type or value.
fn wrong_members() -> Vec<Case> {
    let table: &[(&str, &str, &str)] = &[
        ("task id null", "taskId", "null"),
        ("task id a number", "taskId", "5"),
        ("task id an object", "taskId", "{}"),
        ("version a word", "version", r#""three""#),
        ("version a list", "version", "[3]"),
        ("classifier a number", "taskClassifier", "1"),
        ("api version a word", "taskApiVersion", r#""one""#),
        ("api version too large", "taskApiVersion", "3000000000"),
        ("api version enormous", "taskApiVersion", "1e400"),
        ("data not Base64", "taskData", r#""%%%%""#),
        ("data without padding", "taskData", r#""e30""#),
        ("data an object", "taskData", r#"{"trackingReports":[]}"#),
        ("data a number", "taskData", "7"),
        ("status unknown", "taskStatus", r#""DONE""#),
        ("status in lower case", "taskStatus", r#""new_task""#),
        ("status an object", "taskStatus", "{}"),
        ("context a list", "context", "[]"),
        ("context with a number", "context", r#"{"a":1}"#),
        ("context not Base64", "context", r#"{"a":"%"}"#),
        ("destination a number", "to", "5"),
        ("tracking a text", "tracking", r#""acme:job1""#),
        ("tracking a number", "tracking", "7"),
        ("tracking with a date in words", "tracking", r#"{"lastStatusCheckTime":"yesterday"}"#),
        ("tracking with an interval in words", "tracking", r#"{"statusCheckIntervalMillis":"soon"}"#),
        ("tracking with an id in numbers", "tracking", r#"{"jobTaskId":1.5}"#),
        ("source a text", "sourceInfo", r#""worker""#),
        ("source with a list", "sourceInfo", r#"{"name":["worker"]}"#),
        ("priority a word", "priority", r#""high""#),
        ("correlation id an object", "correlationId", "{}"),
    ];
    table.iter().map(|(name, member, value)| case(name, with(name, member, value), Rejected(""))).collect()
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
    let long_partition = format!("{}:job1.1", "p".repeat(41));
    let long_job = format!("acme:{}.1", "j".repeat(49));
    let deep_task = format!("acme:job1{}", ".1".repeat(33));
    let ids: &[(&str, &str)] = &[
        ("id empty", ""),
        ("id without job", "acme:"),
        ("id without partition", ":job1.1"),
        ("id with a word", "acme:job1.x"),
        ("id with zero", "acme:job1.0"),
        ("id with a negative number", "acme:job1.-1"),
        ("id with too large a number", "acme:job1.2147483648"),
        ("id with an enormous number", "acme:job1.99999999999999999999"),
        ("id with a star alone", "acme:job1.*"),
        ("id with a dot at its end", "acme:job1.1."),
        ("id with a long partition", &long_partition),
        ("id with a long job", &long_job),
        ("id too deep", &deep_task),
    ];
    let mut cases: Vec<Case> = ids
        .iter()
        .map(|(name, id)| case(name, complete(name, id), Answered(ResultFailure, "PROGRESS_UPDATE_FAILED")))
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
        case(name, one_entry(name, entry), Answered(ResultFailure, "PROGRESS_UPDATE_FAILED"))
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
        case(name, tracking_message(name, "JobTrackingWorker", TRACKING, data), *fate)
    }));
    cases
}

/// Everything on a queue.
async fn drain(queue: &dyn TaskQueue, name: &str, count: usize) -> Vec<Delivery> {
    let prefetch = u16::try_from(count + 10).unwrap();
    let mut consumer = queue.consume(name, ConsumeOptions { prefetch }).await.unwrap();
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(within(&format!("{count} messages on {name}"), consumer.next()).await.unwrap());
    }
    // All of them are in hand: what else there is would be counted as waiting, or be here.
    assert_eq!(queue.depth(name).await.unwrap(), Some(0));
    assert!(futures::FutureExt::now_or_never(consumer.next()).is_none(), "more than {count} on {name}");
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_set_aside_once_and_its_neighbours_count() {
    let cases: Vec<Case> =
        [unreadable(), wrong_members(), wrong_requests(), wrong_entries()].into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{}", cases.len());
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
                let headers = &reasons
                    .get(&case.body[..])
                    .unwrap_or_else(|| panic!("{} is missing", case.name))
                    .headers;
                assert_eq!(headers[HEADER_REJECTED], "TASKMESSAGE_INVALID", "{}", case.name);
                let reason = &headers["x-job-service-reason"];
                assert!(!reason.is_empty() && reason.contains(text), "{}: {reason}", case.name);
            }
            Answered(status, text) => {
                let answer = answers.get(case.name).unwrap_or_else(|| panic!("{} is missing", case.name));
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
