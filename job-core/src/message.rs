//! The messages on the queues, in the exact form that CAF workers read and write.
//!
//! Written: every member, in the order of the fields below, nulls included; dates as epoch milliseconds; bytes as padded
//! Base64. Read: leniently (unknown members ignored, null for a number is 0, dates also as ISO 8601, numbers also as
//! text, the last of repeated members wins, trailing bytes ignored), except the payloads of the tracking queue, which are
//! read strictly, as their Java reader does.

mod lenient;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::job::Failure;
use crate::queue::{Delivery, Publication};

/// Classifier of the messages in which workers report.
pub const TRACKING_REPORT_CLASSIFIER: &str = "TrackingReportTask";
/// Classifier of the messages in which a worker reports a percentage, and the tracking worker's own name.
pub const JOB_TRACKING_CLASSIFIER: &str = "JobTrackingWorker";
/// Version of the envelope.
pub const MESSAGE_VERSION: i32 = 3;
/// Header with the reason why a message was set aside.
pub const HEADER_REJECTED: &str = "x-caf-worker-rejected";
/// Header that counts retries on queues that do not count themselves.
pub const HEADER_RETRY: &str = "x-caf-worker-retry";
/// Header in which a quorum queue counts deliveries.
pub const HEADER_DELIVERY_COUNT: &str = "x-delivery-count";

/// Header that says in words why a message was set aside.
pub const HEADER_REASON: &str = "x-job-service-reason";
/// How many characters of such a reason travel.
const REASON_LENGTH_MAX: usize = 200;
/// Room for what most messages have beside their data, so that writing one does not move it again and again.
const ENVELOPE_BYTES: usize = 640;

/// A body that is not the message it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MessageError(String);

/// What a task message asks for or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    /// A task to be done.
    NewTask,
    /// The answer to a task that cannot be understood.
    InvalidTask,
    /// A result.
    ResultSuccess,
    /// A result that says no; still progress, not a failure of the job.
    ResultFailure,
    /// The worker could not do it: a failure of the job.
    ResultException,
}

impl TaskStatus {
    /// Every status, in the order of the wire format's ordinals.
    pub const ALL: [Self; 5] =
        [Self::NewTask, Self::InvalidTask, Self::ResultSuccess, Self::ResultFailure, Self::ResultException];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewTask => "NEW_TASK",
            Self::InvalidTask => "INVALID_TASK",
            Self::ResultSuccess => "RESULT_SUCCESS",
            Self::ResultFailure => "RESULT_FAILURE",
            Self::ResultException => "RESULT_EXCEPTION",
        }
    }

    /// Whether it is reported as a failure of the job.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::InvalidTask | Self::ResultException)
    }
}

/// The envelope of everything on a queue.
///
/// ```
/// use job_core::message::TaskMessage;
/// let minimal = br#"{"taskId":"x","taskClassifier":"W","taskApiVersion":1,"taskData":"e30=","taskStatus":"NEW_TASK","to":"w-in"}"#;
/// let message = TaskMessage::decode(minimal)?;
/// assert_eq!(message.task_data.as_deref(), Some(&b"{}"[..]));
/// assert_eq!(message.version, 3);
/// # Ok::<(), job_core::message::MessageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskMessage {
    /// Always [`MESSAGE_VERSION`] when written.
    #[serde(default = "lenient::version", deserialize_with = "lenient::integer")]
    pub version: i32,
    /// Identifies the task; subtasks append `.n` to it.
    pub task_id: String,
    /// Selects the worker.
    #[serde(default)]
    pub task_classifier: Option<String>,
    /// Version of the payload.
    #[serde(default, deserialize_with = "lenient::integer")]
    pub task_api_version: i32,
    /// The payload.
    #[serde(default, with = "lenient::octets")]
    pub task_data: Option<Bytes>,
    /// Task or kind of result.
    #[serde(default, deserialize_with = "lenient::status")]
    pub task_status: Option<TaskStatus>,
    /// What workers keep for themselves across a task's stations, by worker.
    #[serde(default, with = "lenient::context")]
    pub context: Option<BTreeMap<String, Bytes>>,
    /// The queue it is meant for.
    #[serde(default)]
    pub to: Option<String>,
    /// Which job it belongs to; none for an untracked message.
    #[serde(default, deserialize_with = "lenient::object")]
    pub tracking: Option<TrackingInfo>,
    /// Who sent it.
    #[serde(default, deserialize_with = "lenient::object")]
    pub source_info: Option<SourceInfo>,
    /// Not used any more; null since framework 8.
    #[serde(default)]
    pub priority: Option<i32>,
    /// Follows a request through all messages it causes.
    #[serde(default)]
    pub correlation_id: Option<String>,
}

impl TaskMessage {
    /// A task for whoever consumes `to`, untracked.
    #[must_use]
    pub fn new_task(
        task_id: impl Into<String>,
        classifier: impl Into<String>,
        api_version: i32,
        data: impl Into<Bytes>,
        to: impl Into<String>,
    ) -> Self {
        Self {
            version: MESSAGE_VERSION,
            task_id: task_id.into(),
            task_classifier: Some(classifier.into()),
            task_api_version: api_version,
            task_data: Some(data.into()),
            task_status: Some(TaskStatus::NewTask),
            context: Some(BTreeMap::new()),
            to: Some(to.into()),
            tracking: None,
            source_info: None,
            priority: None,
            correlation_id: None,
        }
    }

    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn decode(body: &[u8]) -> Result<Self, MessageError> {
        lenient::first_value(body)
    }

    /// Writes the body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // Bytes become four characters for three.
        let data = self.task_data.as_ref().map_or(0, Bytes::len);
        let mut body = Vec::with_capacity(data / 3 * 4 + ENVELOPE_BYTES);
        serde_json::to_writer(&mut body, self).expect("texts, numbers and bytes always serialise");
        body.into()
    }

    /// Whether the consumer of `queue` is meant: named in `to`, regardless of case, or nobody is named.
    #[must_use]
    pub fn is_intended_for(&self, queue: &str) -> bool {
        self.to.as_deref().is_none_or(|to| same_queue(to, queue))
    }

    /// Whether tracking ends when this message is published to its destination: both unset, or equal regardless of case.
    #[must_use]
    pub fn ends_tracking(&self) -> bool {
        let Some(tracking) = &self.tracking else { return false };
        match (&tracking.track_to, &self.to) {
            (None, None) => true,
            (Some(track_to), Some(to)) => same_queue(track_to, to),
            _ => false,
        }
    }
}

/// A body that cannot be read, as it is put aside on `queue`: the same bytes, marked as invalid, and why.
#[must_use]
pub fn set_aside(delivery: &Delivery, queue: &str, reason: &str) -> Publication {
    let reason: String = reason.chars().filter(|c| !c.is_control()).take(REASON_LENGTH_MAX).collect();
    let mut publication = Publication::new(queue, delivery.body.clone());
    publication.headers.insert(HEADER_REJECTED.to_owned(), "TASKMESSAGE_INVALID".to_owned());
    publication.headers.insert(HEADER_REASON.to_owned(), reason);
    publication
}

/// Queue names are compared without regard to case, as the framework does.
#[must_use]
pub fn same_queue(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// Which job a message belongs to and how its worker keeps in touch with the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackingInfo {
    /// `[partition:]job[.n[.n...]][*]`; kept as text, since a message with a wrong one must still be forwarded.
    #[serde(default)]
    pub job_task_id: Option<String>,
    /// When the job's status was last asked for.
    #[serde(default, deserialize_with = "lenient::date")]
    pub last_status_check_time: Option<Timestamp>,
    /// The least time between two such questions.
    #[serde(default, deserialize_with = "lenient::integer")]
    pub status_check_interval_millis: i64,
    /// Where to ask; never when unset.
    #[serde(default)]
    pub status_check_url: Option<String>,
    /// The queue for reports; none are sent when unset.
    #[serde(default)]
    pub tracking_pipe: Option<String>,
    /// The queue at which tracking ends.
    #[serde(default)]
    pub track_to: Option<String>,
}

/// Who sent a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// The worker's name.
    #[serde(default)]
    pub name: Option<String>,
    /// The worker's version.
    #[serde(default)]
    pub version: Option<String>,
}

/// What a worker says about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ReportStatus {
    /// It goes on.
    Progress,
    /// It is complete.
    Complete,
    /// It failed.
    Failed,
    /// It is tried again.
    Retry,
}

/// One entry of a report message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrackingReport {
    /// The task.
    pub job_task_id: String,
    /// What is said.
    pub status: ReportStatus,
    /// 0 to 100; 0 where it does not matter.
    #[serde(default)]
    pub estimated_percentage_completed: i32,
    /// With [`ReportStatus::Retry`]: how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i32>,
    /// With [`ReportStatus::Failed`]: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<ReportedFailure>,
}

impl TrackingReport {
    /// The task goes on, or is complete.
    #[must_use]
    pub fn new(job_task_id: impl Into<String>, status: ReportStatus) -> Self {
        let job_task_id = job_task_id.into();
        Self { job_task_id, status, estimated_percentage_completed: 0, retries: None, failure: None }
    }

    /// The task failed.
    #[must_use]
    pub fn failed(job_task_id: impl Into<String>, failure: Failure) -> Self {
        Self { failure: Some(failure.into()), ..Self::new(job_task_id, ReportStatus::Failed) }
    }
}

/// A failure as a report carries it: any member may be absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportedFailure {
    /// Class of failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_id: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::date")]
    pub failure_time: Option<Timestamp>,
    /// The worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_source: Option<String>,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_message: Option<String>,
}

impl From<Failure> for ReportedFailure {
    fn from(failure: Failure) -> Self {
        Self {
            failure_id: Some(failure.id),
            failure_time: Some(failure.time),
            failure_source: Some(failure.source),
            failure_message: Some(failure.message),
        }
    }
}

/// The payload of a [`TRACKING_REPORT_CLASSIFIER`] message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackingReportTask {
    /// The entries, in order.
    pub tracking_reports: Vec<TrackingReport>,
}

impl TrackingReportTask {
    /// Writes the payload.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts and numbers always serialise").into()
    }

    /// Reads a payload strictly, entry by entry, so that a wrong one does not take its neighbours with it.
    ///
    /// # Errors
    /// When the payload as a whole is not a list of entries.
    pub fn decode_entries(payload: &[u8]) -> Result<Vec<Result<TrackingReport, MessageError>>, MessageError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Typed {
            tracking_reports: Vec<TrackingReport>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Untyped {
            tracking_reports: Vec<Value>,
        }
        if let Ok(task) = serde_json::from_slice::<Typed>(payload) {
            return Ok(task.tracking_reports.into_iter().map(Ok).collect());
        }
        let task: Untyped = lenient::first_value(payload)?;
        let entry = |value| serde_json::from_value(value).map_err(|error| MessageError(error.to_string()));
        Ok(task.tracking_reports.into_iter().map(entry).collect())
    }
}

/// The payload of a [`JOB_TRACKING_CLASSIFIER`] message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobTrackingTask {
    /// The task.
    pub job_task_id: String,
    /// 0 to 100.
    #[serde(default)]
    pub estimated_percentage_completed: f64,
}

impl JobTrackingTask {
    /// Reads a payload strictly.
    ///
    /// # Errors
    /// What is wrong with it and where.
    pub fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        lenient::first_value(payload)
    }
}
