//! Creating jobs, and how a job looks.

use job_core::progress::ReportEvent;
use serde_json::json;

use super::row::{FAILURE_MILLIS, Row, failed, get, progress, put, report, task, with};
use crate::server::BODY;

const LOCATION: &str = "http://{address}/job-service/v1/partitions/{partition}/jobs";

/// The contract's members, then ours.
const MEMBERS: &[&str] = &[
    "id",
    "name",
    "description",
    "externalData",
    "createTime",
    "lastUpdateTime",
    "status",
    "percentageComplete",
    "failures",
    "labels",
    "prerequisiteJobIds",
    "blockedBy",
    "failureCount",
    "subtasks",
    "startTime",
    "finishTime",
    "estimatedFinishTime",
    "delay",
    "type",
    "correlationId",
];

pub(super) fn rows() -> Vec<Row> {
    let mut rows = answers();
    rows.extend(validation());
    rows.extend(leniency());
    rows.extend(identity());
    rows.extend(shown());
    rows
}

/// §1.2 #4.
fn answers() -> Vec<Row> {
    vec![
        put("1.2 #4", "j", BODY, 201)
            .text("")
            .header("location", format!("{LOCATION}/j"))
            .no_header("content-type"),
        put("1.2 #4", "j", BODY, 204).text("").no_header("location"),
        put("1.6", "j", with(r#""name":"other""#), 403).message("Job already exists"),
        put("1.2 #4", "q?x=1&y=%20", BODY, 201).header("location", format!("{LOCATION}/q?x=1&y=%20")),
    ]
}

/// §1.5: each fault is named before the ones behind it.
fn validation() -> Vec<Row> {
    const CLASSIFIER: &str = r#""taskClassifier":"W""#;
    const DATA: &str = r#""taskData":"x""#;
    let message = |members: &str, message: &'static str| put("1.5", "v", task(members), 400).message(message);
    let long = "n".repeat(256);
    let labels = |labels: &str| with(&format!("\"labels\":{labels}"));
    vec![
        put("1.5 (2)", "v", with(r#""type":"unknown""#), 400)
            .message("Specifying both typeId and task properties is not allowed."),
        put("1.5 (3)", "v", r#"{"type":"unknown","labels":{"a b":"c"}}"#, 400)
            .message("Unknown job type ID: unknown"),
        put("1.5 (3)", "v", r#"{"type":"known","parameters":{"a":1}}"#, 400)
            .message("Invalid job parameters:\n$.a: integer found, string expected"),
        put("1.5 (3), 7.3", "v", r#"{"type":"known"}"#, 400)
            .message("Invalid job parameters:\n$: null found, object expected"),
        put("1.5 (3), 7.4", "v", r#"{"type":"known","parameters":{"a":"refuse"}}"#, 400)
            .message("known: error: no"),
        put("1.5 (3), 7.5 +Errors", "v", r#"{"type":"known","parameters":{"a":"nowhere"}}"#, 400)
            .message("known: Invalid taskScript:\n$.taskPipe: must be at least 1 characters long"),
        put("1.5 (3)", "typed", r#"{"type":"known","parameters":{"a":"b"}}"#, 201),
        get("1.5 (3) +Additions", "P/jobs/typed").member("/type", "known"),
        put("1.4 +Errors", "v", "{}", 400).message_has("task has not been specified"),
        put("1.4 +Errors", "v", r#"{"task":null}"#, 400).message_has("task has not been specified"),
        message(r#""taskApiVersion":0,"targetPipe":"""#, "The task classifier has not been specified."),
        message(r#""taskClassifier":"","taskApiVersion":0"#, "The task classifier has not been specified."),
        message(r#""taskClassifier":null"#, "The task classifier has not been specified."),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":0,"targetPipe":"""#),
            "The task api version has not been specified.",
        ),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":1,"targetPipe":"","taskPipe":"""#),
            "The target queue name has not been specified.",
        ),
        put(
            "1.5 (7)",
            "v",
            format!(r#"{{"labels":{{"a b":"c"}},{}"#, &task(&format!(r#"{CLASSIFIER},"taskApiVersion":1"#))[1..]),
            400,
        )
        .message("The task queue name has not been specified."),
        put(
            "1.5 (8)",
            "v",
            r#"{"labels":{"a b":"c"},"task":{"taskClassifier":"W","taskApiVersion":1,"taskPipe":"w"}}"#,
            400,
        )
        .message("A provided label name contains an invalid character, only alphanumeric, '-' and '_' are supported"),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":1,"taskPipe":"w""#),
            "The task data has not been specified.",
        ),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":1,"taskPipe":"w","taskData":"""#),
            "The task data has not been specified.",
        ),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":1,"taskPipe":"w","taskData":{{}},"taskDataEncoding":"utf8""#),
            "An encoding type has been found in the task along with taskDataObject. Remove taskDataEncoding and try again",
        ),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":1,"taskPipe":"w","taskData":[1]"#),
            "The taskData is null or empty, please ensure taskData is populated and of a suitable datatype",
        ),
        message(
            &format!(r#"{CLASSIFIER},"taskApiVersion":1,"taskPipe":"w","taskData":1"#),
            "The taskData is null or empty, please ensure taskData is populated and of a suitable datatype",
        ),
        put(
            "1.5 (5)",
            "negative-version",
            task(&format!(r#"{CLASSIFIER},"taskApiVersion":-1,"taskPipe":"w",{DATA}"#)),
            201,
        ),
        put(
            "1.5 (6)",
            "no-target",
            task(&format!(r#"{CLASSIFIER},"taskApiVersion":1,"taskPipe":"w","targetPipe":null,{DATA}"#)),
            201,
        ),
        put("1.5 (8)", "labels", labels(r#"{"aZ-_:9":"any value: é","null":null}"#), 201),
        get("1.5 (8), 1.7", "P/jobs/labels").member("/labels", json!({"aZ-_:9": "any value: é", "null": null})),
        put("1.5 +Errors", "v", with(&format!(r#""name":"{long}""#)), 400).message_has("at most 255"),
        put("1.5", "name255", with(&format!(r#""name":"{}""#, &long[1..])), 201),
        put("1.5 +Errors", "v", labels(&format!(r#"{{"a":"{long}"}}"#)), 400).message_has("at most 255"),
        put("1.5 +Errors", "v", labels(&format!(r#"{{"{long}":"a"}}"#)), 400).message_has("at most 255"),
        put("1.5 +Errors", "v", with(r#""labels":null"#), 400).message_has("labels"),
        put("1.5 +Errors", "v", with(r#""delay":null"#), 400).message_has("delay"),
        put("1.5 +Errors", "v", with(r#""delay":-1"#), 400).message_has("delay is -1"),
        put("1.5 +Errors", "v", with(r#""delay":2147483648"#), 400).message_has("delay"),
        put("1.4 +Errors", "v", BODY.replace("1,", "null,"), 400)
            .message("The task api version has not been specified."),
        put("1.5", "v", BODY.replace("\"data\"", "\"data\",\"taskDataEncoding\":\"UTF8\""), 400)
            .message_has("expected utf8 or base64"),
        put("1.5", "base64", BODY.replace("\"data\"", "\"aGk=\",\"taskDataEncoding\":\"base64\""), 201),
        put("1.5", "utf8", BODY.replace("\"data\"", "\"hi\",\"taskDataEncoding\":\"utf8\""), 201),
        put("1.5", "object", BODY.replace("\"data\"", "{\"b\":[1.50],\"a\":{}}"), 201),
        // Nothing was stored of what was refused.
        super::row::ask("1.5", "GET", "P/jobs/v", 404),
    ]
}

/// §1.4, last point.
fn leniency() -> Vec<Row> {
    vec![
        put("1.4 leniency", "lenient", with(r#""name":1.50,"description":true,"externalData":-7"#), 201),
        get("1.4 leniency", "P/jobs/lenient")
            .member("/name", "1.50")
            .member("/description", "true")
            .member("/externalData", "-7"),
        put("1.4 leniency", "lenient-ints", with(r#""delay":"7""#).replace("1,", "1.9,"), 201),
        get("1.4 leniency", "P/jobs/lenient-ints").member("/delay", 7),
        put("1.4 leniency", "lenient-label", with(r#""labels":{"a":1}"#), 201),
        get("1.4 leniency", "P/jobs/lenient-label").member("/labels", json!({"a": "1"})),
    ]
}

/// §1.6.
fn identity() -> Vec<Row> {
    let first = with(r#""name":"n","delay":0,"labels":{},"prerequisiteJobIds":[]"#);
    vec![
        put("1.6", "same", &first, 201),
        put("1.6", "same", with(r#""name":"n""#), 204),
        put("1.6 +Correctness", "same", with(r#""parameters":null,"name":"n""#), 204),
        put("1.6 +Correctness", "same", with(r#""name":"n""#).replace("1,", "1.0,"), 204),
        put("1.6", "same", with(r#""name":"n","labels":{"a":"b"}"#), 403).message("Job already exists"),
        put("1.6", "same", with(r#""name":"n","delay":1"#), 403),
        put("1.6", "same", with(r#""name":"n","prerequisiteJobIds":["x"]"#), 403),
        get("1.6", "P/jobs/same").kept("updated", "/lastUpdateTime"),
        report("1.6", "same", "", ReportEvent::Complete),
        put("1.6", "same", &first, 204),
        get("1.6", "P/jobs/same").member("/status", "Completed"),
        put("1.6", "typed", r#"{"parameters":{"a":"b"},"type":"known"}"#, 204),
        put("1.6", "typed", r#"{"parameters":{"a":"c"},"type":"known"}"#, 403),
    ]
}

/// §1.7.
fn shown() -> Vec<Row> {
    vec![
        get("1.7", "P/jobs/j")
            .order(MEMBERS)
            .member("/name", ())
            .member("/description", ())
            .member("/externalData", ())
            .member("/failures", json!([]))
            .member("/labels", json!({}))
            .contains(r#""status":"Waiting","percentageComplete":0.0,"failures":[],"labels":{}"#)
            .kept("created", "/createTime"),
        put("1.7", "whole", with(r#""name":"n","description":"d","externalData":"e""#), 201),
        get("1.7", "P/jobs/whole")
            .member("/name", "n")
            .member("/description", "d")
            .member("/externalData", "e"),
        report("1.7", "j", ".1", ReportEvent::Complete),
        get("1.7, 4.4", "P/jobs/j").contains(r#""percentageComplete":50.0"#).member("/status", "Active"),
        report("1.7", "j", ".2", ReportEvent::Complete),
        get("1.7, 4.4", "P/jobs/j").contains(r#""percentageComplete":66.67"#),
        report("1.7", "j", ".3*", progress(100.0)),
        get("1.7, 4.5", "P/jobs/j").contains(r#""percentageComplete":99.7"#),
        report("1.7", "j", ".3", failed("first\nline")),
        get("1.7, 4.6", "P/jobs/j").member("/status", "Failed").member("/failureCount", 1).member(
            "/failures",
            json!([{
                "failureId": "RESULT_EXCEPTION", "failureTime": FAILURE_MILLIS, "failureSource": "W",
                "failureMessage": "first\nline",
            }]),
        ),
        report("1.7 +Correctness", "j", ".2", progress(10.0)),
        get("1.7 +Correctness", "P/jobs/j").member("/failureCount", 1),
        report("1.7", "j", ".3", ReportEvent::Complete),
        get("1.7", "P/jobs/j")
            .contains(r#""status":"Completed","percentageComplete":100.0,"failures":[]"#)
            .kept("created", "/createTime"),
    ]
}
