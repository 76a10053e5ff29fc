//! Golden conversations the other way round: our workers over RabbitMQ, and a Java reader in strict mode that reads all they
//! say. Tasks come from Java, byte for byte as in the messaging contract.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;
mod java;

use std::sync::Arc;

use async_trait::async_trait;
use job_core::clock::ManualClock;
use job_core::queue::TaskQueue;
use job_core::worker::batch::{BatchError, BatchPlugin, BatchServices, BatchWorker};
use job_core::worker::{Outcome, Runner, RunnerSettings, TaskContext, Worker, WorkerResult};
use job_core::{Shutdown, SystemClock, Timestamp};
use serde_json::Value;

use broker::{Broker, DEADLINE};
use java::{JavaWorker, base64, receive, strict};

/// Everything a batch worker says goes here, so that the order of it is seen: its items and its reports.
const WIRE: &str = "wire";
const TASK: &str = "6b1f6a34-3b4c-4f0e-9a57-1f2f6d9f2a01";
const URL: &str = "http://job-service:8080/job-service/v1/partitions/acme/jobs/job1/status";

/// The plugin of the contract's examples: a list of ids.
struct AssetIds;

#[async_trait]
impl BatchPlugin for AssetIds {
    fn name(&self) -> &str {
        "AssetIdBatchPlugin"
    }

    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
        let ids: Vec<String> = serde_json::from_str(definition).map_err(BatchError::definition)?;
        for id in ids {
            services.register_item_subtask("ExampleWorker", 1, &serde_json::json!({ "ref": id })).await?;
        }
        Ok(())
    }
}

/// The contract's example worker; it cannot do `bad`.
struct Example;

impl Worker for Example {
    type Task = Value;
    const KIND: &'static str = "ExampleWorker";

    async fn run(&self, task: Value, _: &TaskContext) -> WorkerResult {
        let reference = task["ref"].as_str().ok_or("no ref")?;
        if reference == "bad" {
            return Err("it is bad".into());
        }
        let reversed: String = reference.chars().rev().collect();
        let result = serde_json::json!({ "out": reversed });
        Ok(Outcome::result("example-out", Self::KIND, 1, &result)?.with_state("state-1"))
    }
}

/// A message as Java writes it, tracked as `id`, whose tracking ends at `example-out`.
fn from_java(kind: &str, to: &str, task: &str, id: &str, data: &str) -> String {
    let data = base64(data);
    format!(
        r#"{{"version":3,"taskId":"{task}","taskClassifier":"{kind}","taskApiVersion":1,"taskData":"{data}","taskStatus":"NEW_TASK","context":{{}},"to":"{to}","tracking":{{"jobTaskId":"{id}","lastStatusCheckTime":1732406400000,"statusCheckIntervalMillis":5000,"statusCheckUrl":"{URL}","trackingPipe":"{WIRE}","trackTo":"example-out"}},"sourceInfo":null,"priority":null,"correlationId":null}}"#
    )
}

/// The next message, read strictly, with the properties that Java expects.
async fn hear(consumer: &mut lapin::Consumer) -> (String, Value) {
    let delivery = receive(consumer).await;
    let properties = &delivery.properties;
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "text/plain");
    assert_eq!((properties.delivery_mode(), properties.priority()), (&Some(2), &None));
    assert!(properties.headers().as_ref().unwrap().inner().is_empty(), "{:?}", properties.headers());
    let value = strict::read(&delivery.data);
    (String::from_utf8(delivery.data).unwrap(), value)
}

struct Conversation {
    java: JavaWorker,
    queue: Arc<dyn TaskQueue>,
    shutdown: Shutdown,
    _broker: Broker,
}

impl Conversation {
    async fn start(input: &str, worker: impl Worker, name: &str) -> Self {
        let broker = Broker::start().await;
        let java = JavaWorker::start(&broker).await;
        for queue in [input, WIRE, "example-out", "w-err"] {
            java.declare(queue).await;
        }
        let queue: Arc<dyn TaskQueue> = Arc::new(broker.connect().await);
        let shutdown = Shutdown::new();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_732_406_400_000)));
        let settings = RunnerSettings { output_queue: Some("w-err".into()), ..RunnerSettings::default() };
        let runner = Runner::builder(Arc::clone(&queue), input)
            .settings(settings)
            .signed(name, "3.7.0")
            .clock(clock)
            .register(worker)
            .build()
            .unwrap();
        runner.start(&shutdown);
        Self { java, queue, shutdown, _broker: broker }
    }

    async fn end(self, input: &str) {
        broker::until("the ack", async || self.queue.depth(input).await.unwrap() == Some(0)).await;
        assert!(self.shutdown.drain(&SystemClock::new(), DEADLINE).await);
        // Had it not been acked it would be there again.
        assert_eq!(self.queue.depth(input).await.unwrap(), Some(0));
        assert_eq!(self.queue.depth(WIRE).await.unwrap(), Some(0), "it says no more");
        self.queue.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_twelve_items_goes_over_the_wire_as_from_java() {
    let talk =
        Conversation::start("batch-in", BatchWorker::new().with_plugin(AssetIds), "worker-batch").await;
    let mut wire = talk.java.consume(WIRE).await;
    let ids: Vec<String> = (1..=12).map(|number| format!(r#"\"a{number}\""#)).collect();
    let batch = format!(
        r#"{{"batchDefinition":"[{}]","batchType":"AssetIdBatchPlugin","taskMessageType":"ExampleWorkerTaskBuilder","taskMessageParams":{{"action":"REVERSE"}},"targetPipe":"{WIRE}"}}"#,
        ids.join(",")
    );
    let first = from_java("BatchWorker", "batch-in", TASK, "acme:job1.3*", &batch);
    talk.java.publish("batch-in", first.as_bytes()).await;

    // §1.7(b): the items, numbered below their parent's id, whose own mark stays where it is.
    let item = |number: usize| {
        let data = base64(format!(r#"{{"ref":"a{number}"}}"#));
        format!(
            r#"{{"version":3,"taskId":"{TASK}.{number}","taskClassifier":"ExampleWorker","taskApiVersion":1,"taskData":"{data}","taskStatus":"NEW_TASK","context":{{}},"to":"{WIRE}","tracking":{{"jobTaskId":"acme:job1.3*.{number}","lastStatusCheckTime":1732406400000,"statusCheckIntervalMillis":5000,"statusCheckUrl":"{URL}","trackingPipe":"{WIRE}","trackTo":"example-out"}},"sourceInfo":{{"name":"worker-batch","version":"3.7.0"}},"priority":null,"correlationId":null}}"#
        )
    };
    // §4.1: five entries to a message, each sent before the item whose entry has no room; the last has the parent's end.
    let report = |task_id: &str, numbers: std::ops::RangeInclusive<usize>, last: &str| {
        let mut entries: Vec<String> =
            numbers.map(|number| java::entry(&format!("acme:job1.3*.{number}"), "Progress")).collect();
        if !last.is_empty() {
            entries.push(java::entry(last, "Complete"));
        }
        java::report_message(task_id, WIRE, &entries)
    };
    let mut told = 0;
    for (items, reported, last) in
        [(1..=5, 1..=5, ""), (6..=10, 6..=10, ""), (11..=12, 11..=12, "acme:job1.3*.13*")]
    {
        for number in items {
            assert_eq!(hear(&mut wire).await.0, item(number));
            told += 1;
        }
        let (body, value) = hear(&mut wire).await;
        let task_id = value["taskId"].as_str().unwrap();
        assert_eq!(task_id.len(), TASK.len(), "an id of its own");
        assert_eq!(body, report(task_id, reported, last));
        told += 1;
    }
    assert_eq!(told, 15);
    talk.end("batch-in").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_failures_and_refusals_are_understood_by_a_strict_reader() {
    let talk = Conversation::start("example-in", Example, "worker-example").await;
    let mut wire = talk.java.consume(WIRE).await;
    let mut results = talk.java.consume("example-out").await;
    let mut errors = talk.java.consume("w-err").await;
    let send = async |kind: &str, number: u32, data: &str| {
        let id = format!("acme:job1.{number}");
        let message = from_java(kind, "example-in", &format!("{TASK}.{number}"), &id, data);
        talk.java.publish("example-in", message.as_bytes()).await;
    };

    // §1.7(c), but for the version.
    send("ExampleWorker", 1, r#"{"ref":"a1"}"#).await;
    let (_, value) = hear(&mut wire).await;
    assert_eq!(strict::reports(&strict::payload(&value)), ["acme:job1.1 Complete"]);
    let expected = format!(
        r#"{{"version":3,"taskId":"{TASK}.1","taskClassifier":"ExampleWorker","taskApiVersion":1,"taskData":"eyJvdXQiOiIxYSJ9","taskStatus":"RESULT_SUCCESS","context":{{"caf/worker":"c3RhdGUtMQ=="}},"to":"example-out","tracking":null,"sourceInfo":{{"name":"worker-example","version":"3.7.0"}},"priority":null,"correlationId":null}}"#
    );
    assert_eq!(hear(&mut results).await.0, expected);

    // §2.8: the worker's error, as a result and as a failed entry with all its members.
    send("ExampleWorker", 2, r#"{"ref":"bad"}"#).await;
    let (_, value) = hear(&mut wire).await;
    let payload = strict::payload(&value);
    assert_eq!(strict::reports(&payload), ["acme:job1.2 Failed"]);
    let failed: Value = serde_json::from_slice(&payload).unwrap();
    let failure = &failed["trackingReports"][0]["failure"];
    assert_eq!(failure["failureId"], "RESULT_EXCEPTION");
    assert_eq!(
        (&failure["failureTime"], &failure["failureSource"]),
        (&1_732_406_400_000_i64.into(), &"worker-example".into())
    );
    assert!(failure["failureMessage"].as_str().unwrap().contains("it is bad"), "{failure}");
    let (_, value) = hear(&mut errors).await;
    assert_eq!((&value["taskStatus"], &value["to"]), (&"RESULT_EXCEPTION".into(), &"w-err".into()));
    assert_eq!(value["tracking"]["jobTaskId"], "acme:job1.2", "it does not end here");

    // §2.12: a task of another kind.
    send("Foo", 3, r#"{"ref":"a3"}"#).await;
    let (_, value) = hear(&mut wire).await;
    assert_eq!(strict::reports(&strict::payload(&value)), ["acme:job1.3 Failed"]);
    let (_, value) = hear(&mut errors).await;
    assert_eq!((&value["taskStatus"], &value["taskClassifier"]), (&"INVALID_TASK".into(), &"Foo".into()));
    assert_eq!(strict::payload(&value), b"Task of type Foo found on queue for ExampleWorker");
    talk.end("example-in").await;
}

#[test]
fn the_strict_reader_refuses_what_java_refuses() {
    let good = from_java("W", "w-in", "t", "acme:job1", "{}");
    assert_eq!(strict::read(good.as_bytes())["taskId"], "t");
    let refused = |body: &str| std::panic::catch_unwind(|| strict::read(body.as_bytes())).is_err();
    for (what, body) in [
        ("a blank", good.replace(r#""version":3,"#, r#""version":3, "#)),
        ("a member more", good.replace(r#""priority":null"#, r#""priority":null,"more":1"#)),
        ("a member less", good.replace(r#""priority":null,"#, "")),
        (
            "another order",
            good.replace(
                r#""priority":null,"correlationId":null"#,
                r#""correlationId":null,"priority":null"#,
            ),
        ),
        (
            "one of tracking",
            good.replace(r#""trackTo":"example-out""#, r#""trackTo":"example-out","jobId":"x""#),
        ),
        ("no padding", good.replace(r#""taskData":"e30=""#, r#""taskData":"e30""#)),
        ("no context", good.replace(r#""context":{}"#, r#""context":null"#)),
        ("another status", good.replace("NEW_TASK", "DONE")),
    ] {
        assert_ne!(body, good, "{what}");
        assert!(refused(&body), "{what}");
    }
}
