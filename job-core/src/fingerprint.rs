//! The identity of a create request: what makes a second one a repeat or a conflict.

use std::fmt;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::job::NewJob;

/// SHA-256 of a canonical form of the request: member order does not count, an absent or null member equals its
/// default, and `1` equals `1.0`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The identity of the body of a create request. A member that is null or has the contract's default counts as absent.
    #[must_use]
    pub fn of_request(body: &Map<String, Value>) -> Self {
        let mut hash = Sha256::new();
        let mut members: Vec<_> = body.iter().filter(|(name, value)| !is_default(name, value)).collect();
        members.sort_by_key(|(key, _)| *key);
        for (key, value) in members {
            write_text(&mut hash, key);
            write_value(&mut hash, value);
        }
        Self(hash.finalize().into())
    }

    /// The identity of a job that was built in Rust.
    #[must_use]
    pub fn of_job(job: &NewJob) -> Self {
        let prerequisites: Vec<String> = job
            .prerequisites
            .iter()
            .map(|prerequisite| {
                format!("{}{}", prerequisite.job, if prerequisite.pre_created { ",pc" } else { "" })
            })
            .collect();
        let mut body = json!({
            "name": job.name,
            "description": job.description,
            "externalData": job.external_data,
            "type": job.job_type,
            "prerequisiteJobIds": prerequisites,
            "delay": job.delay.as_secs(),
            "labels": job.labels,
        });
        if let Some(parameters) = &job.parameters {
            // The same request stays the same when the type is defined anew.
            body["parameters"] = parameters.clone();
        } else {
            body["task"] = json!({
                "taskClassifier": job.task.classifier,
                "taskApiVersion": job.task.api_version,
                "taskDataHash": Sha256::digest(&job.task.data).to_vec(),
                "taskPipe": job.task.queue,
                "targetPipe": job.task.target,
            });
        }
        Self::of_request(body.as_object().expect("the document above is an object"))
    }

    /// From its stored form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its stored form.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn is_default(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null) => true,
        ("delay", Value::Number(delay)) => delay.as_f64() == Some(0.0),
        ("prerequisiteJobIds", Value::Array(items)) => items.is_empty(),
        ("labels", Value::Object(labels)) => labels.is_empty(),
        _ => false,
    }
}

// Each value is written with a tag and its length, so that no two different documents are the same bytes.
fn write_value(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update(b"n"),
        Value::Bool(value) => hash.update(if *value { b"t" } else { b"f" }),
        Value::Number(number) => write_number(hash, number),
        Value::String(text) => {
            hash.update(b"s");
            write_text(hash, text);
        }
        Value::Array(items) => {
            hash.update(b"a");
            hash.update((items.len() as u64).to_be_bytes());
            items.iter().for_each(|item| write_value(hash, item));
        }
        Value::Object(members) => {
            // Null members of an object are kept: task data {"a":null} differs from {}.
            hash.update(b"o");
            hash.update((members.len() as u64).to_be_bytes());
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(key, _)| *key);
            for (key, value) in members {
                write_text(hash, key);
                write_value(hash, value);
            }
        }
    }
}

fn write_text(hash: &mut Sha256, text: &str) {
    hash.update((text.len() as u64).to_be_bytes());
    hash.update(text.as_bytes());
}

fn write_number(hash: &mut Sha256, number: &serde_json::Number) {
    if let Some(integer) = number.as_i64() {
        hash.update(b"i");
        hash.update(integer.to_be_bytes());
    } else if let Some(float) = number.as_f64() {
        // 2^53: below it every integral float is exact, so that `1.0` is the integer 1.
        if float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0 {
            hash.update(b"i");
            hash.update((float as i64).to_be_bytes());
        } else {
            hash.update(b"d");
            hash.update(float.to_bits().to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Fingerprint {
        Fingerprint::of_request(serde_json::from_str::<Value>(text).unwrap().as_object().unwrap())
    }

    #[test]
    fn parameters_that_look_empty_are_not_absent() {
        let forms = [
            "",
            r#","parameters":0"#,
            r#","parameters":[]"#,
            r#","parameters":{}"#,
            r#","parameters":false"#,
        ]
        .map(|parameters| of(&format!(r#"{{"type":"t"{parameters}}}"#)));
        for (index, form) in forms.iter().enumerate() {
            assert!(!forms[..index].contains(form), "form {index}");
        }
        assert_eq!(of(r#"{"type":"t","parameters":null}"#), forms[0]);
    }

    #[test]
    fn equal_requests_have_equal_fingerprints() {
        let base = of(r#"{"name":"a","delay":1,"task":{"taskApiVersion":1,"taskData":{"x":1,"y":[true]}}}"#);
        for same in [
            r#"{"task":{"taskData":{"y":[true],"x":1.0},"taskApiVersion":1},"delay":1,"name":"a"}"#,
            r#"{"name":"a","delay":1.0,"labels":{},"prerequisiteJobIds":[],"description":null,"task":{"taskApiVersion":1,"taskData":{"x":1,"y":[true]}}}"#,
        ] {
            assert_eq!(of(same), base, "{same}");
        }
        for different in [
            r#"{"name":"b","delay":1,"task":{"taskApiVersion":1,"taskData":{"x":1,"y":[true]}}}"#,
            r#"{"name":"a","delay":1,"task":{"taskApiVersion":1,"taskData":{"x":"1","y":[true]}}}"#,
            r#"{"name":"a","delay":1,"task":{"taskApiVersion":1,"taskData":{"x":1,"y":[true],"z":null}}}"#,
        ] {
            assert_ne!(of(different), base, "{different}");
        }
    }
}
