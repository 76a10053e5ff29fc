//! What a message on the tracking queue means: one pure table (messaging contract §4).

use crate::clock::Timestamp;
use crate::id::JobTaskId;
use crate::job::Failure;
use crate::message::{
    HEADER_REJECTED, HEADER_RETRY, JOB_TRACKING_CLASSIFIER, JobTrackingTask, ReportStatus, ReportedFailure,
    TRACKING_REPORT_CLASSIFIER, TaskMessage, TaskStatus, TrackingReport, TrackingReportTask,
};
use crate::progress::{Percentage, ReportEvent};
use crate::queue::Headers;
use crate::store::TaskReport;

/// The payload version that the tracking queue understands.
const API_VERSION: i32 = 1;

/// What is to be done with a message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interpretation {
    /// To be recorded.
    pub reports: Vec<TaskReport>,
    /// Entries that make no sense, each with its reason; to be answered on the error queue.
    pub refused: Vec<Refused>,
    /// Whether the message only passed by and is to be sent on to its destination.
    pub passing: bool,
}

/// Something in a message that cannot be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// How it is answered: a wrong entry with [`TaskStatus::ResultFailure`], a message that is not for this queue at all
    /// with [`TaskStatus::InvalidTask`].
    pub answer: TaskStatus,
    /// Why.
    pub reason: String,
}

impl Refused {
    fn entry(task: &str, reason: impl std::fmt::Display) -> Self {
        let task: String = task.chars().take(120).collect();
        Self {
            answer: TaskStatus::ResultFailure,
            reason: format!("Failed to report on the job task {task}. {reason}"),
        }
    }

    fn message(reason: String) -> Self {
        Self { answer: TaskStatus::InvalidTask, reason }
    }
}

/// Reads a message that arrived on the tracking queue `queue`.
#[must_use]
pub fn interpret(message: &TaskMessage, headers: &Headers, queue: &str, now: Timestamp) -> Interpretation {
    if !message.is_intended_for(queue) {
        return passing(message, headers, now);
    }
    let classifier = message.task_classifier.as_deref().unwrap_or_default();
    let invalid =
        |reason| Interpretation { refused: vec![Refused::message(reason)], ..Interpretation::default() };
    if !matches!(classifier, TRACKING_REPORT_CLASSIFIER | JOB_TRACKING_CLASSIFIER) {
        let classifier: String = classifier.chars().take(120).collect();
        return invalid(format!("Task of type {classifier} found on queue for {JOB_TRACKING_CLASSIFIER}"));
    }
    if message.task_api_version > API_VERSION {
        return invalid(format!(
            "Found task version {}, which is newer than {API_VERSION}",
            message.task_api_version
        ));
    }
    let Some(payload) = &message.task_data else {
        return invalid("Invalid input message: task not specified".to_owned());
    };
    let read =
        if classifier == TRACKING_REPORT_CLASSIFIER { entries(payload, now) } else { percentage(payload) };
    read.unwrap_or_else(|error| invalid(format!("Invalid input message: {error}")))
}

fn entries(payload: &[u8], now: Timestamp) -> Result<Interpretation, crate::message::MessageError> {
    let mut interpretation = Interpretation::default();
    for entry in TrackingReportTask::decode_entries(payload)? {
        match entry {
            Ok(entry) => match read_entry(&entry, now) {
                Ok(report) => interpretation.reports.extend(report),
                Err(refused) => interpretation.refused.push(refused),
            },
            Err(error) => {
                interpretation.refused.push(Refused::entry("of an entry that cannot be read", error))
            }
        }
    }
    Ok(interpretation)
}

fn percentage(payload: &[u8]) -> Result<Interpretation, crate::message::MessageError> {
    let task = JobTrackingTask::decode(payload)?;
    let mut interpretation = Interpretation::default();
    match progress(&task.job_task_id, task.estimated_percentage_completed) {
        Ok(report) => interpretation.reports.push(report),
        Err(refused) => interpretation.refused.push(refused),
    }
    Ok(interpretation)
}

fn report(id: &str, event: ReportEvent) -> Result<TaskReport, Refused> {
    let JobTaskId { job, task } = id.parse().map_err(|error| Refused::entry(id, error))?;
    Ok(TaskReport { job, task, event })
}

fn progress(id: &str, percent: f64) -> Result<TaskReport, Refused> {
    let percentage = Percentage::from_number(percent).ok_or_else(|| {
        Refused::entry(id, format!("estimatedPercentageCompleted is {percent}: expected 0 to 100"))
    })?;
    report(id, ReportEvent::Progress(percentage))
}

fn read_entry(entry: &TrackingReport, now: Timestamp) -> Result<Option<TaskReport>, Refused> {
    let id = &entry.job_task_id;
    match entry.status {
        ReportStatus::Complete => report(id, ReportEvent::Complete).map(Some),
        ReportStatus::Progress => progress(id, f64::from(entry.estimated_percentage_completed)).map(Some),
        ReportStatus::Failed => {
            let failure =
                entry.failure.clone().ok_or_else(|| Refused::entry(id, "a Failed entry needs a failure"))?;
            report(id, ReportEvent::Failed(filled(failure, now))).map(Some)
        }
        ReportStatus::Retry => report(id, ReportEvent::Progress(Percentage::ZERO)).map(|_| None),
    }
}

fn filled(failure: ReportedFailure, now: Timestamp) -> Failure {
    Failure {
        id: failure.failure_id.unwrap_or_else(|| "Unknown".to_owned()),
        time: failure.failure_time.unwrap_or(now),
        source: failure.failure_source.unwrap_or_else(|| "Unknown".to_owned()),
        message: failure.failure_message.unwrap_or_default(),
    }
}

/// Workers up to framework 2.4 send their results through the tracking queue (§4.10).
fn passing(message: &TaskMessage, headers: &Headers, now: Timestamp) -> Interpretation {
    let mut interpretation = Interpretation { passing: true, ..Interpretation::default() };
    let Some(id) = message.tracking.as_ref().and_then(|tracking| tracking.job_task_id.as_deref()) else {
        return interpretation;
    };
    let event = match message.task_status {
        Some(TaskStatus::NewTask | TaskStatus::ResultSuccess | TaskStatus::ResultFailure) => {
            message.ends_tracking().then_some(ReportEvent::Complete)
        }
        Some(status @ (TaskStatus::ResultException | TaskStatus::InvalidTask)) => {
            let text = String::from_utf8_lossy(message.task_data.as_deref().unwrap_or_default()).into_owned();
            Some(ReportEvent::Failed(failure(message, status.as_str(), text, now)))
        }
        None => headers.get(HEADER_REJECTED).map(|reason| {
            let retries = headers.get(HEADER_RETRY).map_or("0", String::as_str);
            let text = format!("{reason}. Execution of this job task was retried {retries} times.");
            ReportEvent::Failed(failure(message, HEADER_REJECTED, text, now))
        }),
    };
    match event.map(|event| report(id, event)) {
        Some(Ok(report)) => interpretation.reports.push(report),
        Some(Err(refused)) => interpretation.refused.push(refused),
        None => {}
    }
    interpretation
}

fn failure(message: &TaskMessage, id: &str, text: String, now: Timestamp) -> Failure {
    Failure { id: id.to_owned(), time: now, source: failure_source(message), message: text }
}

/// Who a failure is attributed to (§4.1).
#[must_use]
pub fn failure_source(message: &TaskMessage) -> String {
    match &message.source_info {
        Some(source) => source.name.clone().unwrap_or_else(|| "Unknown - worker name not set".to_owned()),
        None => "Unknown - no source info".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const QUEUE: &str = "jobtracking-in";

    fn read(message: &TaskMessage, headers: &[(&str, &str)]) -> Interpretation {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        interpret(message, &headers, QUEUE, Timestamp::from_millis(7))
    }

    fn report_message(payload: &str) -> TaskMessage {
        TaskMessage::new_task("t", TRACKING_REPORT_CLASSIFIER, 1, Bytes::from(payload.to_owned()), QUEUE)
    }

    #[test]
    fn each_entry_stands_for_itself() {
        let interpretation = read(
            &report_message(
                r#"{"trackingReports":[
                {"jobTaskId":"p:j.1","status":"Complete","estimatedPercentageCompleted":0},
                {"jobTaskId":"p:j.x","status":"Complete","estimatedPercentageCompleted":0},
                {"jobTaskId":"p:j.2","status":"Failed"},
                {"jobTaskId":"p:j.3","status":"Progress","estimatedPercentageCompleted":140},
                {"jobTaskId":"p:j.4","status":"Nonsense"},
                {"jobTaskId":"p:j.5","status":"Retry","retries":1},
                {"status":"Complete"},
                7,
                {"jobTaskId":"j.6*","status":"Complete","estimatedPercentageCompleted":0}]}"#,
            ),
            &[],
        );
        let tasks: Vec<String> =
            interpretation.reports.iter().map(|report| format!("{}{}", report.job, report.task)).collect();
        assert_eq!(tasks, ["p:j.1", "default:j.6*"]);
        assert_eq!(interpretation.refused.len(), 6);
        assert!(interpretation.refused.iter().all(|refused| refused.answer == TaskStatus::ResultFailure));
        assert!(!interpretation.passing);
    }

    #[test]
    fn what_is_not_a_report_is_answered_as_invalid() {
        let mut newer = report_message("{}");
        newer.task_api_version = 2;
        let mut other = report_message("{}");
        other.task_classifier = Some("OcrWorker".into());
        let mut empty = report_message("{}");
        empty.task_data = None;
        for (message, text) in [
            (newer, "newer than 1"),
            (other, "Task of type OcrWorker found on queue for JobTrackingWorker"),
            (empty, "task not specified"),
            (report_message(r#"{"trackingReports":[],"extra":1}"#), "extra"),
            (report_message("null"), "Invalid input message"),
        ] {
            let interpretation = read(&message, &[]);
            assert_eq!(interpretation.refused[0].answer, TaskStatus::InvalidTask);
            assert!(interpretation.refused[0].reason.contains(text), "{:?}", interpretation.refused);
        }
    }

    #[test]
    fn a_passing_message_reports_by_its_status_and_destination() {
        let base = |status, to: Option<&str>, track_to: Option<&str>| {
            let mut message = TaskMessage::new_task("t", "W", 1, Bytes::from_static(b"boom"), "");
            message.task_status = status;
            message.to = to.map(str::to_owned);
            message.tracking = Some(crate::message::TrackingInfo {
                job_task_id: Some("p:j.2".into()),
                last_status_check_time: None,
                status_check_interval_millis: 0,
                status_check_url: None,
                tracking_pipe: Some(QUEUE.into()),
                track_to: track_to.map(str::to_owned),
            });
            message
        };
        use TaskStatus as S;
        let rejected = [(HEADER_REJECTED, "RETRIES_EXCEEDED"), (HEADER_RETRY, "3")];
        for (status, to, track_to, headers, expected) in [
            (Some(S::ResultSuccess), Some("out"), Some("OUT"), &[][..], "complete"),
            (Some(S::NewTask), Some("next"), Some("out"), &[], "nothing"),
            (Some(S::ResultFailure), Some("out"), Some("out"), &[], "complete"),
            (Some(S::ResultException), Some("out"), Some("out"), &[], "RESULT_EXCEPTION: boom"),
            (Some(S::InvalidTask), Some("err"), None, &rejected, "INVALID_TASK: boom"),
            (
                None,
                Some("out"),
                Some("out"),
                &rejected,
                "x-caf-worker-rejected: RETRIES_EXCEEDED. Execution of this job task was retried 3 times.",
            ),
            (None, Some("out"), Some("out"), &[], "nothing"),
        ] {
            let interpretation = read(&base(status, to, track_to), headers);
            assert!(interpretation.passing);
            let seen = match interpretation.reports.first().map(|report| &report.event) {
                Some(ReportEvent::Complete) => "complete".to_owned(),
                Some(ReportEvent::Failed(failure)) => format!("{}: {}", failure.id, failure.message),
                Some(ReportEvent::Progress(_)) => "progress".to_owned(),
                None => "nothing".to_owned(),
            };
            assert_eq!(seen, expected, "{status:?}");
        }
        let mut untracked = base(Some(S::ResultSuccess), Some("out"), Some("out"));
        untracked.tracking = None;
        assert_eq!(read(&untracked, &[]).reports, []);
    }
}
