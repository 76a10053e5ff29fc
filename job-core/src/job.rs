//! What a job is: the values a client gives and the values it reads back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::Error;
use crate::excerpt::excerpt;
use crate::fingerprint::Fingerprint;
use crate::id::{JobId, JobKey};
use crate::lifecycle::JobStatus;
use crate::progress::Percentage;

/// Longest job name, label key and label value, in characters.
pub const TEXT_LENGTH_MAX: usize = 255;
/// Longest failure message that is kept, in bytes; the rest is cut.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// How many failures a job shows directly; all of them are kept.
pub const FAILURES_SHOWN_MAX: usize = 100;

/// Label keys and values; a value may be null.
pub type Labels = BTreeMap<String, Option<String>>;

/// The first task of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSpec {
    /// Selects the worker ("task classifier").
    pub classifier: String,
    /// Version of the task's payload; never 0.
    pub api_version: i32,
    /// The payload, not interpreted.
    pub data: Bytes,
    /// The queue the message is put on ("task pipe").
    pub queue: String,
    /// The queue at which tracking ends ("target pipe"); none for a worker without output.
    pub target: Option<String>,
}

impl TaskSpec {
    /// Version 1 of a task whose payload is the JSON of `payload`, without a target queue.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) when `payload` has no JSON form, such as a map whose keys are not texts.
    pub fn json(
        classifier: impl Into<String>,
        queue: impl Into<String>,
        payload: &impl Serialize,
    ) -> Result<Self, Error> {
        let data = serde_json::to_vec(payload)
            .map_err(|error| Error::invalid("the task's payload has no JSON form").with_source(error))?;
        let (classifier, queue) = (classifier.into(), queue.into());
        Ok(Self { classifier, api_version: 1, data: data.into(), queue, target: None })
    }
}

/// A job that must complete first.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Prerequisite {
    /// The job to wait for, in the same partition.
    pub job: JobId,
    /// "Pre-created": when no job of this id exists, it is taken as complete instead of awaited.
    pub pre_created: bool,
}

impl Prerequisite {
    /// Waits for `job`, which may be created later.
    #[must_use]
    pub fn new(job: JobId) -> Self {
        Self { job, pre_created: false }
    }
}

/// A job as a client submits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Partition and id.
    pub key: JobKey,
    /// Display name.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Opaque text kept for the client.
    pub external_data: Option<String>,
    /// The first task.
    pub task: TaskSpec,
    /// The job type it was made from, if any.
    pub job_type: Option<String>,
    /// What it was made with. They count for the identity of the request in the task's place, and are not stored.
    pub parameters: Option<serde_json::Value>,
    /// Jobs that must complete first.
    pub prerequisites: Vec<Prerequisite>,
    /// Wait after the prerequisites.
    pub delay: Duration,
    /// Client metadata.
    pub labels: Labels,
    /// Travels with every message of the job.
    pub correlation_id: Option<String>,
    /// Identity of the request: an equal one is a repeat, a different one a conflict.
    pub fingerprint: Option<Fingerprint>,
}

impl NewJob {
    /// A job without name, labels, prerequisites or delay.
    #[must_use]
    pub fn new(key: JobKey, task: TaskSpec) -> Self {
        Self {
            key,
            name: None,
            description: None,
            external_data: None,
            task,
            job_type: None,
            parameters: None,
            prerequisites: Vec::new(),
            delay: Duration::ZERO,
            labels: Labels::new(),
            correlation_id: None,
            fingerprint: None,
        }
    }

    /// Sets the display name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Adds jobs that must complete first.
    #[must_use]
    pub fn after(mut self, prerequisites: impl IntoIterator<Item = JobId>) -> Self {
        self.prerequisites.extend(prerequisites.into_iter().map(Prerequisite::new));
        self
    }

    /// Waits this long after the prerequisites.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), Some(value.into()));
        self
    }

    /// Checks everything but the ids, in the contract's order and with its texts.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) naming the first field that is wrong.
    pub fn validate(&self) -> Result<(), Error> {
        let task = &self.task;
        if task.classifier.is_empty() {
            return Err(Error::invalid("The task classifier has not been specified."));
        }
        if task.api_version == 0 {
            return Err(Error::invalid("The task api version has not been specified."));
        }
        if task.target.as_deref() == Some("") {
            return Err(Error::invalid("The target queue name has not been specified."));
        }
        if task.queue.is_empty() {
            return Err(Error::invalid("The task queue name has not been specified."));
        }
        if !self.labels.keys().all(|key| is_label_key(key)) {
            return Err(Error::invalid(
                "A provided label name contains an invalid character, only alphanumeric, '-' and '_' are supported",
            ));
        }
        if task.data.is_empty() {
            return Err(Error::invalid("The task data has not been specified."));
        }
        self.validate_lengths()
    }

    fn validate_lengths(&self) -> Result<(), Error> {
        let task = &self.task;
        length("name", self.name.as_deref(), TEXT_LENGTH_MAX)?;
        length("task.taskClassifier", Some(&task.classifier), TEXT_LENGTH_MAX)?;
        // The longest queue name that AMQP can carry.
        bytes("task.taskPipe", Some(&task.queue), 255)?;
        bytes("task.targetPipe", task.target.as_deref(), 255)?;
        for (key, value) in &self.labels {
            let key_shown = excerpt(key, LABEL_CHARACTERS_SHOWN);
            length(&format!("the label name {key_shown}"), Some(key), TEXT_LENGTH_MAX)?;
            length(&format!("labels.{key_shown}"), value.as_deref(), TEXT_LENGTH_MAX)?;
        }
        self.validate_characters()
    }

    /// No store can hold U+0000.
    fn validate_characters(&self) -> Result<(), Error> {
        let task = &self.task;
        let texts = [
            ("name", self.name.as_ref()),
            ("description", self.description.as_ref()),
            ("externalData", self.external_data.as_ref()),
            ("task.taskClassifier", Some(&task.classifier)),
            ("task.taskPipe", Some(&task.queue)),
            ("task.targetPipe", task.target.as_ref()),
        ];
        let labels = self.labels.iter().map(|(key, value)| (key.as_str(), value.as_ref()));
        let labels = labels.map(|(key, value)| (format!("labels.{key}"), value));
        let texts = texts.into_iter().map(|(field, text)| (field.to_owned(), text));
        let has_nul = |text: Option<&String>| text.is_some_and(|text| text.contains('\0'));
        match texts.chain(labels).find(|(_, text)| has_nul(*text)) {
            None => Ok(()),
            Some((field, _)) => Err(Error::invalid(format!(
                "{field} contains the character U+0000, which cannot be stored: expected any others"
            ))),
        }
    }
}

/// As far as it takes to know a label by its name.
const LABEL_CHARACTERS_SHOWN: usize = 60;

pub(crate) fn is_label_key(key: &str) -> bool {
    !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':'))
}

fn length(field: &str, text: Option<&str>, max: usize) -> Result<(), Error> {
    match text.map(|text| text.chars().count()) {
        Some(count) if count > max => {
            Err(Error::invalid(format!("{field} is {count} characters long: at most {max} are allowed")))
        }
        _ => Ok(()),
    }
}

fn bytes(field: &str, text: Option<&str>, max: usize) -> Result<(), Error> {
    match text.map(str::len) {
        Some(count) if count > max => {
            Err(Error::invalid(format!("{field} is {count} bytes long: at most {max} are allowed")))
        }
        _ => Ok(()),
    }
}

/// Why a subtask or a prerequisite failed.
///
/// The member names are those of the wire format, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// A class of failure such as `RESULT_EXCEPTION`.
    #[serde(rename = "failureId")]
    pub id: String,
    /// When it happened.
    #[serde(rename = "failureTime")]
    pub time: Timestamp,
    /// The worker that reports it; prefixed with `partition:job:` of the root cause when a prerequisite failed.
    #[serde(rename = "failureSource")]
    pub source: String,
    /// What the worker says.
    #[serde(rename = "failureMessage")]
    pub message: String,
}

impl Failure {
    /// Cuts the message to what is kept, at a character boundary, and removes what no store can hold.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for text in [&mut self.id, &mut self.source, &mut self.message] {
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
            if text.len() > FAILURE_MESSAGE_BYTES_MAX {
                let end = text.floor_char_boundary(FAILURE_MESSAGE_BYTES_MAX);
                text.truncate(end);
            }
        }
        self
    }

    /// The same failure as the dependents of `root` show it.
    #[must_use]
    pub fn caused_by(&self, root: &JobKey) -> Self {
        Self { source: format!("{root}:{}", self.source), ..self.clone() }
    }
}

/// How many direct subtasks a job has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SubtaskCounts {
    /// How many there are; `None` until the last sibling is known.
    pub total: Option<u32>,
    /// How many are complete.
    pub completed: u32,
    /// How many have failed, themselves or below, and not completed since.
    pub failed: u32,
}

/// A prerequisite that a job still waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocker {
    /// The job waited for.
    pub job: JobId,
    /// Its status; `None` when no job of that id exists.
    pub status: Option<JobStatus>,
}

/// Why the message of a due job is not on its queue yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatchProblem {
    /// How often it was tried.
    pub attempts: u32,
    /// What the queue said last.
    pub reason: String,
    /// When it is tried again.
    pub retry_at: Timestamp,
}

/// A job as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Partition and id.
    pub key: JobKey,
    /// Display name.
    pub name: Option<String>,
    /// Free text.
    pub description: Option<String>,
    /// Opaque text kept for the client.
    pub external_data: Option<String>,
    /// When it was created.
    pub create_time: Timestamp,
    /// When it last changed.
    pub last_update_time: Timestamp,
    /// Its status.
    pub status: JobStatus,
    /// How much of it is complete.
    pub percentage: Percentage,
    /// The first [`FAILURES_SHOWN_MAX`] failures, in order of arrival.
    pub failures: Vec<Failure>,
    /// How many failures there are.
    pub failure_count: u64,
    /// Client metadata.
    pub labels: Labels,
    /// Its direct subtasks; of a finished job, as they were at the end.
    pub subtasks: SubtaskCounts,
    /// The jobs that it was created to wait for, met or not, in the order given.
    pub prerequisites: Vec<JobId>,
    /// Unmet prerequisites, in id order.
    pub blocked_by: Vec<Blocker>,
    /// Why a due job is not on its queue yet.
    pub dispatch_problem: Option<DispatchProblem>,
    /// Whether messages of it are held until its partition is resumed.
    pub suspended: bool,
    /// When its first task was put on its queue.
    pub start_time: Option<Timestamp>,
    /// When it was completed, failed or cancelled.
    pub finish_time: Option<Timestamp>,
    /// Wait after the prerequisites.
    pub delay: Duration,
    /// The job type it was made from.
    pub job_type: Option<String>,
    /// The correlation id of the request that created it.
    pub correlation_id: Option<String>,
}

impl Job {
    /// Its prerequisites, those that are unmet first.
    pub fn prerequisites_unmet_first(&self) -> impl Iterator<Item = &JobId> {
        let unmet: BTreeSet<&JobId> = self.blocked_by.iter().map(|blocker| &blocker.job).collect();
        let met: Vec<&JobId> = self.prerequisites.iter().filter(|job| !unmet.contains(job)).collect();
        self.blocked_by.iter().map(|blocker| &blocker.job).chain(met)
    }
}

/// Everything a store keeps of a new job: the client's values and the identifiers given on acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedJob {
    /// The client's values, validated; prerequisites without duplicates.
    pub job: NewJob,
    /// Identity of the request.
    pub fingerprint: Fingerprint,
    /// The `taskId` of the first task message; the same whenever it is published again.
    pub task_id: Uuid,
    /// Whether the message is held until the partition is resumed.
    pub suspended: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> NewJob {
        let task = TaskSpec {
            classifier: "W".into(),
            api_version: 1,
            data: Bytes::from_static(b"{}"),
            queue: "w-in".into(),
            target: None,
        };
        NewJob::new(JobKey::parse("p", "j").unwrap(), task)
    }

    #[test]
    fn every_wrong_field_has_its_own_message() {
        type Break = fn(&mut NewJob);
        let cases: [(Break, &str); 9] = [
            (|job| job.task.classifier.clear(), "The task classifier has not been specified."),
            (|job| job.task.api_version = 0, "The task api version has not been specified."),
            (|job| job.task.target = Some(String::new()), "The target queue name has not been specified."),
            (|job| job.task.queue.clear(), "The task queue name has not been specified."),
            (|job| job.task.data = Bytes::new(), "The task data has not been specified."),
            (
                |job| drop(job.labels.insert("a b".into(), None)),
                "A provided label name contains an invalid character, only alphanumeric, '-' and '_' are supported",
            ),
            (|job| job.name = Some("n".repeat(256)), "name is 256 characters long: at most 255 are allowed"),
            (
                |job| drop(job.labels.insert("k".into(), Some("v".repeat(256)))),
                "labels.k is 256 characters long: at most 255 are allowed",
            ),
            (
                |job| job.description = Some("\0".into()),
                "description contains the character U+0000, which cannot be stored: expected any others",
            ),
        ];
        assert!(job().validate().is_ok());
        for (spoil, message) in cases {
            let mut job = job();
            spoil(&mut job);
            assert_eq!(job.validate().unwrap_err().message(), message);
        }
    }

    #[test]
    fn a_long_failure_is_cut_at_a_character() {
        let failure = Failure {
            id: "X".into(),
            time: Timestamp::default(),
            source: "w".into(),
            message: "é\0".repeat(FAILURE_MESSAGE_BYTES_MAX),
        };
        let bounded = failure.bounded();
        assert!(bounded.message.len() <= FAILURE_MESSAGE_BYTES_MAX);
        assert!(!bounded.message.contains('\0'));
    }
}
