//! The batch worker on the wire.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod worker_support;

use std::sync::Arc;

use async_trait::async_trait;
use job_core::Timestamp;
use job_core::clock::ManualClock;
use job_core::message::{TaskMessage, TrackingReportTask};
use job_core::worker::RunnerSettings;
use job_core::worker::batch::{BatchAnswer, BatchError, BatchPlugin, BatchServices, BatchWorker};
use worker_support::{INPUT, PIPE, Recorder, Running, within};

/// The plugin of the contract's examples: a list of ids, split in two while it is longer than two.
struct AssetIds;

#[async_trait]
impl BatchPlugin for AssetIds {
    fn name(&self) -> &str {
        "AssetIdBatchPlugin"
    }

    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
        let ids: Vec<String> = serde_json::from_str(definition).map_err(BatchError::definition)?;
        if ids.iter().any(|id| id == "later") {
            return Err(BatchError::transient("the share is not mounted"));
        }
        if ids.len() > 2 {
            for half in ids.chunks(2) {
                services.register_batch_subtask(serde_json::to_string(half).unwrap()).await?;
            }
            return Ok(());
        }
        assert_eq!(services.message_type(), Some("ExampleWorkerTaskBuilder"));
        assert_eq!(services.message_params().unwrap()["action"].as_deref(), Some("REVERSE"));
        for id in ids {
            services.register_item_subtask("ExampleWorker", 1, &serde_json::json!({ "ref": id })).await?;
        }
        Ok(())
    }
}

fn first_message() -> TaskMessage {
    let mut message = TaskMessage::decode(include_bytes!("golden/message_first.json")).unwrap();
    message.to = Some(INPUT.into());
    message
}

fn with_definition(definition: &str) -> TaskMessage {
    let mut message = first_message();
    let mut payload: serde_json::Value = serde_json::from_slice(message.task_data.as_ref().unwrap()).unwrap();
    payload["batchDefinition"] = definition.into();
    message.task_data = Some(payload.to_string().into());
    message
}

async fn run(message: &TaskMessage, worker: BatchWorker) -> (Arc<Recorder>, Vec<String>) {
    let queue = Recorder::new();
    queue.put_task(message).await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_732_406_400_000)));
    let settings = RunnerSettings { output_queue: Some("batch-err".into()), ..RunnerSettings::default() };
    let running = Running::start(&queue, |runner| {
        runner
            .settings(settings)
            .signed("worker-batch", "3.7.0")
            .clock(clock)
            .register(worker.with_plugin(AssetIds))
    });
    let ended = within(async {
        while worker_support::settlements(&queue.log()) == 0 && running.monitor.counts().retried == 0 {
            tokio::task::yield_now().await;
        }
    });
    assert!(ended.await.is_some(), "the batch does not end: {:#?}", queue.log());
    // Stopping hands back at once what waits to be tried again.
    running.stop().await;
    let log = queue.log();
    (queue, log)
}

const TASK: &str = "6b1f6a34-3b4c-4f0e-9a57-1f2f6d9f2a01";

#[tokio::test]
async fn two_items_go_over_the_wire_in_the_contracts_order() {
    let (queue, log) = run(&first_message(), BatchWorker::new()).await;
    assert_eq!(
        log,
        [
            format!("example-in {TASK}.1 NEW_TASK"),
            format!("example-in {TASK}.2 NEW_TASK"),
            "jobtracking-in [acme:job1.1 Progress, acme:job1.2 Progress, acme:job1.3* Complete]".into(),
            "Ack".into(),
        ]
    );
    let items = queue.published("example-in");
    assert_eq!(items[0].body, include_str!("golden/message_item.json").trim_end());
    let report = TaskMessage::decode(&queue.published(PIPE)[0].body).unwrap();
    assert_eq!(
        report.task_data.as_deref().unwrap(),
        include_str!("golden/reports_batch.json").trim_end().as_bytes()
    );
    // Apart from its random id the whole message is the example.
    let mut example = TaskMessage::decode(include_bytes!("golden/message_report.json")).unwrap();
    example.task_id.clone_from(&report.task_id);
    assert_eq!(report, example);
}

#[tokio::test]
async fn a_batch_may_answer_and_its_answer_completes_it() {
    let always = BatchAnswer::Always { queue: "batch-out".into() };
    let (queue, log) = run(&first_message(), BatchWorker::new().with_answer(always)).await;
    assert_eq!(log[3..], [format!("batch-out {TASK}.3* RESULT_SUCCESS"), "Ack".into()]);
    assert!(log[2].contains("acme:job1.3* Complete"));
    let answer = TaskMessage::decode(&queue.published("batch-out")[0].body).unwrap();
    assert_eq!((answer.task_data.unwrap(), answer.tracking), (r#"{"batchTask":"acme:job1"}"#.into(), None));

    let if_empty = || BatchWorker::new().with_answer(BatchAnswer::IfEmpty { queue: "batch-out".into() });
    let (queue, _) = run(&first_message(), if_empty()).await;
    assert!(queue.published("batch-out").is_empty());
    let (_, log) = run(&with_definition("[]"), if_empty()).await;
    assert_eq!(
        log,
        [
            "jobtracking-in [acme:job1 Complete]".to_owned(),
            format!("batch-out {TASK} RESULT_SUCCESS"),
            "Ack".into()
        ]
    );
}

#[tokio::test]
async fn smaller_batches_go_back_to_the_batch_worker() {
    let queue = Recorder::new();
    queue.put_task(&with_definition(r#"["a1","a2","a3"]"#)).await;
    let running = Running::start(&queue, |runner| runner.register(BatchWorker::new().with_plugin(AssetIds)));
    queue.until_settled(3).await;
    running.stop().await;
    let smaller = queue.published(INPUT);
    let payload = TaskMessage::decode(&smaller[1].body).unwrap().task_data.unwrap();
    assert_eq!(
        payload,
        r#"{"batchDefinition":"[\"a3\"]","batchType":"AssetIdBatchPlugin","taskMessageType":"ExampleWorkerTaskBuilder","taskMessageParams":{"action":"REVERSE"},"targetPipe":"example-in"}"#
    );
    let mut ids: Vec<String> = queue
        .published("example-in")
        .iter()
        .map(|item| TaskMessage::decode(&item.body).unwrap().tracking.unwrap().job_task_id.unwrap())
        .collect();
    ids.sort();
    assert_eq!(ids, ["acme:job1.1.1", "acme:job1.1.2", "acme:job1.2.1"]);
    let log = queue.log().join("\n");
    for last in ["acme:job1.3* Complete", "acme:job1.1.3* Complete", "acme:job1.2.2* Complete"] {
        assert!(log.contains(last), "{log}");
    }
}

async fn failure_of(message: &TaskMessage) -> String {
    let (queue, log) = run(message, BatchWorker::new()).await;
    assert_eq!(log[log.len() - 2..], [format!("batch-err {TASK} RESULT_EXCEPTION"), "Ack".into()]);
    let report = TaskMessage::decode(&queue.published(PIPE)[0].body).unwrap().task_data.unwrap();
    let mut entries = TrackingReportTask::decode_entries(&report).unwrap();
    entries.remove(0).unwrap().failure.unwrap().failure_message.unwrap()
}

#[tokio::test]
async fn a_wrong_batch_fails_with_its_reason() {
    let failure = failure_of(&with_definition("nonsense")).await;
    assert!(failure.starts_with("Failed to process batch. expected ident"), "{failure}");
    let mut unknown = first_message();
    unknown.task_data = Some(r#"{"batchType":"Nobody"}"#.into());
    assert_eq!(failure_of(&unknown).await, "Invalid batch type  Nobody");
    let mut aimless = with_definition(r#"["a1"]"#);
    let payload = String::from_utf8(aimless.task_data.unwrap().to_vec()).unwrap();
    aimless.task_data = Some(payload.replace(r#""example-in""#, "null").into());
    assert_eq!(
        failure_of(&aimless).await,
        "Failed to process batch. the batch names no targetPipe for its items"
    );
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_now_is_tried_again() {
    let (_, log) = run(&with_definition(r#"["later"]"#), BatchWorker::new()).await;
    assert_eq!(log, ["Requeue"], "nothing is reported");
}
