//! A Java reader in strict mode (messaging contract §1.2 to §1.4): it refuses a member that is missing, added, out of its
//! place or of another type, and blanks. It writes down what it understood by hand and compares the bytes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// What may be in a place.
type Check = fn(&Value) -> bool;

/// Reads a task message.
///
/// # Panics
/// When a strict reader would refuse it.
pub fn read(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).expect("UTF-8");
    let value: Value = serde_json::from_str(text).expect("one JSON document");
    let members: [(&str, Check); 12] = [
        ("version", |value| value == 3),
        ("taskId", Value::is_string),
        ("taskClassifier", Value::is_string),
        ("taskApiVersion", is_int),
        ("taskData", is_base64),
        ("taskStatus", is_status),
        ("context", is_context),
        ("to", is_text_or_null),
        ("tracking", |value| value.is_null() || value.is_object()),
        ("sourceInfo", |value| value.is_null() || value.is_object()),
        ("priority", Value::is_null),
        ("correlationId", is_text_or_null),
    ];
    assert_eq!(text, written(&value, &members), "the bytes of a strict writer");
    let data = payload(&value);
    if value["taskClassifier"] == "TrackingReportTask" {
        reports(&data);
    }
    value
}

/// The decoded `taskData`.
pub fn payload(message: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(message["taskData"].as_str().expect("a text")).expect("padded base64")
}

/// The entries of a report, each as `id Status`.
pub fn reports(payload: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(payload).expect("UTF-8");
    let value: Value = serde_json::from_str(text).expect("one JSON document");
    let entries = value["trackingReports"].as_array().expect("a list");
    let rendered: Vec<String> = entries.iter().map(entry).collect();
    assert_eq!(text, format!(r#"{{"trackingReports":[{}]}}"#, rendered.join(",")));
    let said = |entry: &Value| {
        format!("{} {}", entry["jobTaskId"].as_str().unwrap(), entry["status"].as_str().unwrap())
    };
    entries.iter().map(said).collect()
}

/// Members that are null are left out here (§4.1).
fn entry(value: &Value) -> String {
    let mut members: Vec<(&str, Check)> = vec![
        ("jobTaskId", Value::is_string),
        ("status", |value| {
            ["Progress", "Complete", "Failed", "Retry"].contains(&value.as_str().unwrap_or_default())
        }),
        ("estimatedPercentageCompleted", is_int),
    ];
    match value["status"].as_str() {
        Some("Retry") => members.push(("retries", is_int)),
        Some("Failed") => members.push(("failure", Value::is_object)),
        _ => {}
    }
    written(value, &members)
}

fn written(value: &Value, members: &[(&str, Check)]) -> String {
    let object = value.as_object().expect("an object");
    let rendered = members.iter().map(|(name, holds)| {
        let member = object.get(*name).unwrap_or_else(|| panic!("{name} is missing in {value}"));
        assert!(holds(member), "{name} is {member}");
        format!("{name:?}:{}", nested(name, member))
    });
    format!("{{{}}}", rendered.collect::<Vec<_>>().join(","))
}

/// The objects inside have an order of their own.
fn nested(name: &str, member: &Value) -> String {
    match (name, member) {
        ("tracking", Value::Object(_)) => written(member, &TRACKING),
        ("sourceInfo", Value::Object(_)) => written(member, &SOURCE),
        ("failure", _) => written(member, &FAILURE),
        _ => member.to_string(),
    }
}

const TRACKING: [(&str, Check); 6] = [
    ("jobTaskId", Value::is_string),
    ("lastStatusCheckTime", |value| value.is_null() || value.is_i64()),
    ("statusCheckIntervalMillis", Value::is_i64),
    ("statusCheckUrl", is_text_or_null),
    ("trackingPipe", is_text_or_null),
    ("trackTo", is_text_or_null),
];
const SOURCE: [(&str, Check); 2] = [("name", is_text_or_null), ("version", is_text_or_null)];
const FAILURE: [(&str, Check); 4] = [
    ("failureId", Value::is_string),
    ("failureTime", Value::is_i64),
    ("failureSource", Value::is_string),
    ("failureMessage", Value::is_string),
];

fn is_int(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

fn is_text_or_null(value: &Value) -> bool {
    value.is_null() || value.is_string()
}

fn is_base64(value: &Value) -> bool {
    value.as_str().is_some_and(|text| BASE64_STANDARD.decode(text).is_ok())
}

fn is_status(value: &Value) -> bool {
    ["NEW_TASK", "INVALID_TASK", "RESULT_SUCCESS", "RESULT_FAILURE", "RESULT_EXCEPTION"]
        .contains(&value.as_str().unwrap_or_default())
}

/// Never null when it is written.
fn is_context(value: &Value) -> bool {
    value.as_object().is_some_and(|context| context.values().all(is_base64))
}
