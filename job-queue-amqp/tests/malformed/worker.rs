//! The queue of a worker of the SDK: what cannot be read is put on the reject queue, what no worker can do is answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use job_core::message::{TaskMessage, TaskStatus};
use job_core::queue::{Delivery, TaskQueue};
use job_core::worker::{Outcome, Runner, RunnerSettings, TaskContext, Worker, WorkerResult};
use job_core::{Shutdown, SystemClock};
use serde::Deserialize;

use crate::broker::{Broker, DEADLINE, until};
use crate::corpus::{WRONG_IDS, message, unreadable};
use crate::java::{JavaWorker, base64};
use crate::{drain, is_set_aside};

const TASKS: &str = "w-in";
const REJECTS: &str = "w-in-reject";
const ANSWERS: &str = "w-out";

#[derive(Deserialize)]
struct Number {
    number: usize,
}

/// Writes down what it gets.
struct Counter(Arc<Mutex<Vec<usize>>>);

impl Worker for Counter {
    type Task = Number;
    const KIND: &'static str = "Counter";

    async fn run(&self, task: Number, _: &TaskContext) -> WorkerResult {
        self.0.lock().unwrap().push(task.number);
        Ok(Outcome::done())
    }
}

fn task(name: &str, replaced: &[(&str, &str)]) -> String {
    message(name, TASKS, &[&[("taskClassifier", r#""Counter""#)], replaced].concat())
}

fn with_payload(name: &str, payload: &[u8]) -> String {
    task(name, &[("taskData", &format!("{:?}", base64(payload)))])
}

/// Readable, and nothing a worker could do: the name, the body and the reason.
fn impossible() -> Vec<(String, String, &'static str)> {
    let mut cases = Vec::new();
    for (name, kind) in [
        ("unknown kind", r#""Ocr""#),
        ("kind null", "null"),
        ("kind empty", r#""""#),
        ("kind in lower case", r#""counter""#),
        ("kind with a blank", r#""Counter ""#),
    ] {
        cases.push((name.to_owned(), task(name, &[("taskClassifier", kind)]), "found on queue for"));
    }
    cases.push(("no data".to_owned(), task("no data", &[("taskData", "null")]), "task not specified"));
    let deep = "[".repeat(100_000);
    let large = format!(r#"{{"number":"{}"}}"#, "9".repeat(1 << 20));
    for (name, payload) in [
        ("payload empty", &b""[..]),
        ("payload null", b"null"),
        ("payload a number", b"7"),
        ("payload a text", br#""7""#),
        ("payload an empty list", b"[]"),
        ("payload an empty object", b"{}"),
        ("payload cut", br#"{"number":"#),
        ("payload of a wrong type", br#"{"number":"7"}"#),
        ("payload null inside", br#"{"number":null}"#),
        ("payload negative", br#"{"number":-1}"#),
        ("payload too large a number", br#"{"number":1e400}"#),
        ("payload broken", br#"{"number":1.5}"#),
        ("payload not UTF-8", b"{\"number\":\"\xff\xfe\"}"),
        ("payload NULs", &[0; 64]),
        ("payload XML", b"<number>7</number>"),
        ("payload deep", deep.as_bytes()),
        ("payload large", large.as_bytes()),
    ] {
        cases.push((name.to_owned(), with_payload(name, payload), "Invalid input message"));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_malformed_is_set_aside_once_and_its_neighbours_are_done() {
    let mut bodies: Vec<(String, Vec<u8>, &str)> =
        unreadable(TASKS).into_iter().map(|body| (body.name, body.bytes, body.reason)).collect();
    for (name, id) in WRONG_IDS {
        let body = task(name, &[("tracking.jobTaskId", &format!("{:?}", id()))]);
        bodies.push((name.to_owned(), body.into_bytes(), "tracking.jobTaskId"));
    }
    let impossible = impossible();
    let broker = Broker::start().await;
    let java = JavaWorker::start(&broker).await;
    java.declare(TASKS).await;
    let queue = Arc::new(broker.connect().await);
    let mut neighbours = 0;
    let wrong = bodies.iter().map(|(_, body, _)| &body[..]);
    for body in wrong.chain(impossible.iter().map(|(_, body, _)| body.as_bytes())) {
        let good = with_payload("good", format!(r#"{{"number":{neighbours}}}"#).as_bytes());
        java.publish(TASKS, good.as_bytes()).await;
        java.publish(TASKS, body).await;
        neighbours += 1;
    }

    let (shutdown, done) = (Shutdown::new(), Arc::new(Mutex::new(Vec::new())));
    let settings = RunnerSettings { output_queue: Some(ANSWERS.into()), ..RunnerSettings::default() };
    let runner = Runner::builder(Arc::clone(&queue) as Arc<dyn TaskQueue>, TASKS)
        .settings(settings)
        .register(Counter(Arc::clone(&done)))
        .build()
        .unwrap();
    let monitor = runner.monitor();
    runner.start(&shutdown);
    let expected = (bodies.len() as u64, impossible.len() as u64, neighbours as u64);
    let counted = || {
        let counts = monitor.counts();
        (counts.set_aside, counts.failed, counts.succeeded)
    };
    until("all messages", async || counted() == expected).await;
    until("an empty queue", async || queue.depth(TASKS).await.unwrap() == Some(0)).await;
    assert!(shutdown.drain(&SystemClock::new(), DEADLINE).await);
    let counts = monitor.counts();
    assert_eq!((counted(), counts.received), (expected, 2 * neighbours as u64), "{counts:?}");
    done.lock().unwrap().sort_unstable();
    assert_eq!(*done.lock().unwrap(), (0..neighbours).collect::<Vec<_>>());

    let rejected = drain(&*queue, REJECTS, bodies.len()).await;
    let answered = drain(&*queue, ANSWERS, impossible.len()).await;
    let by_body: BTreeMap<&[u8], &Delivery> =
        rejected.iter().map(|delivery| (&delivery.body[..], delivery)).collect();
    assert_eq!(by_body.len(), bodies.len(), "something came twice");
    for (name, body, reason) in &bodies {
        is_set_aside(by_body[&body[..]], name, reason);
    }
    let answers: BTreeMap<String, TaskMessage> = answered
        .iter()
        .map(|delivery| TaskMessage::decode(&delivery.body).unwrap())
        .map(|answer| (answer.task_id.clone(), answer))
        .collect();
    assert_eq!(answers.len(), impossible.len(), "something came twice");
    for (name, _, reason) in &impossible {
        let answer = &answers[name];
        assert_eq!(answer.task_status, Some(TaskStatus::InvalidTask), "{name}");
        let text = String::from_utf8_lossy(answer.task_data.as_deref().unwrap()).into_owned();
        assert!(text.contains(reason), "{name}: {text}");
    }
    println!("{} rejected, {} answered, {neighbours} neighbours done", rejected.len(), answered.len());
    queue.close().await;
}
