//! The wire format against examples of what CAF services and workers send: read, and written again to the same bytes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use job_core::Timestamp;
use job_core::message::{
    JobTrackingTask, ReportStatus, TaskMessage, TaskStatus, TrackingReport, TrackingReportTask, same_queue,
};
use job_core::worker::batch::BatchTask;

macro_rules! golden {
    ($name:literal) => {
        include_str!(concat!("golden/", $name, ".json")).trim_end()
    };
}

fn decoded(text: &str) -> TaskMessage {
    TaskMessage::decode(text.as_bytes()).unwrap()
}

#[test]
fn complete_messages_are_written_as_they_were_read() {
    for text in [
        golden!("message_first"),
        golden!("message_item"),
        golden!("message_result"),
        golden!("message_invalid_task"),
        golden!("message_report"),
        golden!("message_percentage"),
        golden!("message_dependent"),
        golden!("message_tracker_error"),
        golden!("message_diverted"),
        golden!("message_poke"),
        golden!("message_resume"),
        golden!("message_unstowed"),
    ] {
        assert_eq!(decoded(text).encode(), text);
    }
}

#[test]
fn the_first_message_of_a_job_is_understood() {
    let message = decoded(golden!("message_first"));
    let tracking = message.tracking.as_ref().unwrap();
    assert_eq!(tracking.last_status_check_time, Some(Timestamp::from_millis(1_732_406_400_000)));
    assert_eq!(
        (tracking.job_task_id.as_deref(), tracking.status_check_interval_millis),
        (Some("acme:job1"), 5_000)
    );
    assert!(message.is_intended_for("Batch-IN"));
    assert!(!message.ends_tracking());
    let payload = message.task_data.unwrap();
    assert_eq!(payload, golden!("batch_two_items"));
    let batch: BatchTask = serde_json::from_slice(&payload).unwrap();
    assert_eq!(batch.batch_definition.as_deref(), Some(r#"["a1","a2"]"#));
}

#[test]
fn batch_payloads_are_written_as_they_were_read() {
    for text in [golden!("batch_two_items"), golden!("batch_one_item")] {
        let batch: BatchTask = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&batch).unwrap(), text);
    }
    let empty: BatchTask = serde_json::from_str(r#"{"more":1}"#).unwrap();
    assert_eq!(
        serde_json::to_string(&empty).unwrap(),
        r#"{"batchDefinition":null,"batchType":null,"taskMessageType":null,"taskMessageParams":null,"targetPipe":null}"#
    );
}

#[test]
fn report_payloads_are_written_as_they_were_read() {
    for text in [golden!("reports_batch"), golden!("reports_failed")] {
        let entries = TrackingReportTask::decode_entries(text.as_bytes()).unwrap();
        let tracking_reports: Vec<TrackingReport> = entries.into_iter().map(Result::unwrap).collect();
        assert_eq!(TrackingReportTask { tracking_reports }.encode(), text);
    }
    let inside = decoded(golden!("message_report")).task_data.unwrap();
    assert_eq!(inside, golden!("reports_batch"));
}

#[test]
fn a_stored_failure_is_readable() {
    let failure: serde_json::Value = serde_json::from_str(golden!("failure_stored")).unwrap();
    assert_eq!(failure["failureId"], "RESULT_EXCEPTION");
}

#[test]
fn a_percentage_is_read_from_any_number() {
    let payload = decoded(golden!("message_percentage")).task_data.unwrap();
    let task = JobTrackingTask::decode(&payload).unwrap();
    assert_eq!((task.job_task_id.as_str(), task.estimated_percentage_completed), ("acme:job1.2", 40.0));
}

#[test]
fn the_least_message_is_enough() {
    let message = decoded(golden!("minimal_message"));
    assert_eq!(
        message.encode(),
        r#"{"version":3,"taskId":"x","taskClassifier":"ExampleWorker","taskApiVersion":1,"taskData":"eyJyZWYiOiJhMSJ9","taskStatus":"NEW_TASK","context":null,"to":"example-in","tracking":null,"sourceInfo":null,"priority":null,"correlationId":null}"#
    );
    let least = decoded(r#"{"taskId":"x"}"#);
    assert_eq!((least.version, least.task_api_version, least.task_status), (3, 0, None));
    assert!(least.is_intended_for("anybody"));
}

#[test]
fn readers_are_as_lenient_as_javas() {
    let with = |member: &str| decoded(&format!(r#"{{"taskId":"x","unknown":{{"a":[1]}},{member}}}"#));
    assert_eq!(with(r#""taskApiVersion":null"#).task_api_version, 0);
    assert_eq!(with(r#""taskApiVersion":"7""#).task_api_version, 7);
    assert_eq!(with(r#""version":4"#).version, 4);
    assert_eq!(with(r#""taskStatus":4"#).task_status, Some(TaskStatus::ResultException));
    assert_eq!(with(r#""taskData":null"#).task_data, None);
    assert_eq!(with(r#""taskData":"""#).task_data, Some(Bytes::new()));
    assert_eq!(with(r#""taskData":[104,105,-1]"#).task_data.as_deref(), Some(&[104, 105, 255][..]));
    assert_eq!(with(r#""taskData":"////+w==""#).task_data.as_deref(), Some(&[255, 255, 255, 251][..]));
    assert_eq!(with(r#""context":null"#).context, None);
    assert_eq!(with(r#""taskId":"y""#).task_id, "y", "the last of repeated members wins");
    assert_eq!(decoded(r#"{"taskId":"x"} trailing"#).task_id, "x");
    for (time, expected) in [
        ("1732406405123", Some(1_732_406_405_123)),
        (r#""1732406405123""#, Some(1_732_406_405_123)),
        (r#""2024-11-24T00:00:05.123Z""#, Some(1_732_406_405_123)),
        (r#""2024-11-24T01:00:05.123+01:00""#, Some(1_732_406_405_123)),
        (r#""""#, None),
        ("null", None),
    ] {
        let message = with(&format!(r#""tracking":{{"jobId":"acme:j","lastStatusCheckTime":{time}}}"#));
        let tracking = message.tracking.unwrap();
        assert_eq!(tracking.last_status_check_time.map(Timestamp::as_millis), expected, "{time}");
        assert_eq!(tracking.status_check_interval_millis, 0);
    }
}

#[test]
fn what_is_no_task_message_is_refused() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"taskId":null}"#,
        r#"{"taskId":"x","taskStatus":"DONE"}"#,
        r#"{"taskId":"x","taskStatus":9}"#,
        r#"{"taskId":"x","taskData":"eyJ"}"#,
        r#"{"taskId":"x","taskData":{"inline":true}}"#,
        r#"{"taskId":"x","taskApiVersion":4294967296}"#,
        r#"{"taskId":"x","tracking":{"lastStatusCheckTime":"yesterday"}}"#,
        r#"{"taskId":"x","tracking":[]}"#,
        r#"{"taskId":"x","tracking":["p:j",1,2,"u","q","t"]}"#,
        r#"{"taskId":"x","sourceInfo":["w","1"]}"#,
        r#"[3,"x","W",1]"#,
        "\u{feff}{\"taskId\":\"x\"}",
    ] {
        assert!(TaskMessage::decode(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn payloads_of_the_tracking_queue_are_read_strictly() {
    for payload in ["null", "{}", r#"{"trackingReports":null}"#, r#"{"trackingReports":[],"more":1}"#] {
        assert!(TrackingReportTask::decode_entries(payload.as_bytes()).is_err(), "{payload}");
    }
    let payload = r#"{"trackingReports":[
        {"jobTaskId":"a:j.1","status":"Complete","estimatedPercentageCompleted":0},
        {"jobTaskId":"a:j.2","status":"Complete","more":1},
        {"jobTaskId":null,"status":"Complete"},
        {"jobTaskId":"a:j.3","status":"Gone"},
        {"jobTaskId":"a:j.4","status":"Retry","retries":2}]}"#;
    let entries = TrackingReportTask::decode_entries(payload.as_bytes()).unwrap();
    let read: Vec<Option<ReportStatus>> =
        entries.into_iter().map(|entry| entry.ok().map(|entry| entry.status)).collect();
    assert_eq!(read, [Some(ReportStatus::Complete), None, None, None, Some(ReportStatus::Retry)]);
    for payload in ["null", "{}", r#"{"jobTaskId":"a:j","more":1}"#, r#"{"jobTaskId":null}"#] {
        assert!(JobTrackingTask::decode(payload.as_bytes()).is_err(), "{payload}");
    }
}

#[test]
fn tracking_ends_where_destination_and_track_to_meet() {
    let mut message = decoded(golden!("message_item"));
    for (to, track_to, ends) in [
        (None, None, true),
        (Some("OUT"), Some("out"), true),
        (Some("out"), None, false),
        (None, Some("out"), false),
        (Some("a"), Some("b"), false),
    ] {
        message.to = to.map(str::to_owned);
        message.tracking.as_mut().unwrap().track_to = track_to.map(str::to_owned);
        assert_eq!(message.ends_tracking(), ends, "{to:?} {track_to:?}");
    }
    message.tracking = None;
    assert!(!message.ends_tracking());
    assert!(same_queue("Größe-IN", "größe-in"));
}
