//! What a response says about its task to the engine: one table (messaging contract §4.1).

use crate::clock::{IdSource, Timestamp};
use crate::job::Failure;
use crate::message::{
    HEADER_REJECTED, HEADER_RETRY, ReportStatus, TRACKING_REPORT_CLASSIFIER, TaskMessage, TaskStatus,
    TrackingReport, TrackingReportTask,
};
use crate::queue::{Headers, Publication};

/// The entry for one response, or none when there is nobody to tell or nothing to say.
///
/// `response` still has its tracking; `incoming` are the headers of the delivery that it answers. Progress of zero is
/// said only when `zero_progress` is set: it has no effect on the job, but old engines and tools may count on seeing it.
pub(crate) fn entry(
    response: &TaskMessage,
    incoming: &Headers,
    zero_progress: bool,
    now: Timestamp,
) -> Option<TrackingReport> {
    let tracking = response.tracking.as_ref()?;
    let task = tracking.job_task_id.as_deref()?;
    if tracking.tracking_pipe.as_deref().is_none_or(str::is_empty) {
        return None;
    }
    let failed = |id: &str, message: String| {
        let source = match &response.source_info {
            None => "Unknown - no source info",
            Some(source) => source.name.as_deref().unwrap_or("Unknown - worker name not set"),
        };
        let failure = Failure { id: id.to_owned(), time: now, source: source.to_owned(), message };
        TrackingReport::failed(task, failure.bounded())
    };
    match response.task_status {
        Some(TaskStatus::NewTask | TaskStatus::ResultSuccess | TaskStatus::ResultFailure) => {
            if response.ends_tracking() {
                Some(TrackingReport::new(task, ReportStatus::Complete))
            } else {
                zero_progress.then(|| TrackingReport::new(task, ReportStatus::Progress))
            }
        }
        Some(status @ (TaskStatus::ResultException | TaskStatus::InvalidTask)) => {
            let data = response.task_data.as_deref().unwrap_or_default();
            Some(failed(status.as_str(), String::from_utf8_lossy(data).into_owned()))
        }
        None => {
            let retries = incoming.get(HEADER_RETRY).and_then(|text| text.trim().parse::<i32>().ok());
            let retries = retries.unwrap_or(0);
            Some(match incoming.get(HEADER_REJECTED) {
                Some(reason) => failed(
                    HEADER_REJECTED,
                    format!("{reason}. Execution of this job task was retried {retries} times."),
                ),
                None => TrackingReport {
                    retries: Some(retries),
                    ..TrackingReport::new(task, ReportStatus::Retry)
                },
            })
        }
    }
}

/// The message that carries entries to the queue `pipe`.
pub(super) fn publication(
    reports: &TrackingReportTask,
    pipe: &str,
    correlation_id: Option<&str>,
    ids: &dyn IdSource,
) -> Publication {
    let mut message =
        TaskMessage::new_task(ids.next().to_string(), TRACKING_REPORT_CLASSIFIER, 1, reports.encode(), pipe);
    message.correlation_id = correlation_id.map(str::to_owned);
    Publication::new(pipe, message.encode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{SourceInfo, TrackingInfo};

    fn response(status: Option<TaskStatus>, to: Option<&str>, track_to: Option<&str>) -> TaskMessage {
        let mut message = TaskMessage::new_task("t", "W", 1, &b"\"boom\""[..], "unused");
        message.task_status = status;
        message.to = to.map(str::to_owned);
        message.source_info =
            Some(SourceInfo { name: Some("example-worker".into()), version: Some("1".into()) });
        message.tracking = Some(TrackingInfo {
            job_task_id: Some("acme:job1.2".into()),
            last_status_check_time: None,
            status_check_interval_millis: 0,
            status_check_url: None,
            tracking_pipe: Some("jobtracking-in".into()),
            track_to: track_to.map(str::to_owned),
        });
        message
    }

    fn text(report: Option<TrackingReport>) -> String {
        report.map_or_else(|| "-".to_owned(), |report| serde_json::to_string(&report).unwrap())
    }

    #[test]
    fn every_row_of_the_table() {
        use TaskStatus as S;
        let now = Timestamp::from_millis(1_732_406_405_123);
        let complete = r#"{"jobTaskId":"acme:job1.2","status":"Complete","estimatedPercentageCompleted":0}"#;
        let progress = r#"{"jobTaskId":"acme:job1.2","status":"Progress","estimatedPercentageCompleted":0}"#;
        for status in [S::NewTask, S::ResultSuccess, S::ResultFailure] {
            for (to, track_to, ends) in [
                (None, None, true),
                (Some("out"), Some("out"), true),
                (Some("OUT"), Some("out"), true),
                (Some("out"), None, false),
                (None, Some("out"), false),
                (Some("a"), Some("b"), false),
            ] {
                let response = response(Some(status), to, track_to);
                let (loud, quiet) = if ends { (complete, complete) } else { (progress, "-") };
                assert_eq!(text(entry(&response, &Headers::new(), true, now)), loud, "{status:?} {to:?}");
                assert_eq!(text(entry(&response, &Headers::new(), false, now)), quiet, "{status:?} {to:?}");
            }
        }
        for status in [S::ResultException, S::InvalidTask] {
            for (to, track_to) in [(None, None), (Some("out"), Some("out")), (Some("a"), Some("b"))] {
                for zero_progress in [true, false] {
                    let response = response(Some(status), to, track_to);
                    let expected = format!(
                        r#"{{"jobTaskId":"acme:job1.2","status":"Failed","estimatedPercentageCompleted":0,"failure":{{"failureId":"{}","failureTime":1732406405123,"failureSource":"example-worker","failureMessage":"\"boom\""}}}}"#,
                        status.as_str()
                    );
                    assert_eq!(text(entry(&response, &Headers::new(), zero_progress, now)), expected);
                }
            }
        }
        for (headers, expected) in [
            (
                vec![],
                r#"{"jobTaskId":"acme:job1.2","status":"Retry","estimatedPercentageCompleted":0,"retries":0}"#,
            ),
            (
                vec![(HEADER_RETRY, "3")],
                r#"{"jobTaskId":"acme:job1.2","status":"Retry","estimatedPercentageCompleted":0,"retries":3}"#,
            ),
            (
                vec![(HEADER_RETRY, "x")],
                r#"{"jobTaskId":"acme:job1.2","status":"Retry","estimatedPercentageCompleted":0,"retries":0}"#,
            ),
            (
                vec![(HEADER_REJECTED, "RETRIES_EXCEEDED"), (HEADER_RETRY, "3")],
                r#"{"jobTaskId":"acme:job1.2","status":"Failed","estimatedPercentageCompleted":0,"failure":{"failureId":"x-caf-worker-rejected","failureTime":1732406405123,"failureSource":"example-worker","failureMessage":"RETRIES_EXCEEDED. Execution of this job task was retried 3 times."}}"#,
            ),
        ] {
            let headers: Headers =
                headers.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            assert_eq!(text(entry(&response(None, Some("a"), None), &headers, true, now)), expected);
        }
    }

    #[test]
    fn nobody_is_told_about_an_untracked_response() {
        let now = Timestamp::default();
        let spoil: [fn(&mut TrackingInfo); 3] = [
            |tracking| tracking.job_task_id = None,
            |tracking| tracking.tracking_pipe = None,
            |tracking| tracking.tracking_pipe = Some(String::new()),
        ];
        for spoil in spoil {
            let mut response = response(Some(TaskStatus::ResultException), None, None);
            spoil(response.tracking.as_mut().unwrap());
            assert_eq!(entry(&response, &Headers::new(), true, now), None);
        }
        let mut response = response(Some(TaskStatus::ResultException), None, None);
        response.tracking = None;
        assert_eq!(entry(&response, &Headers::new(), true, now), None);
    }

    #[test]
    fn a_failure_names_its_source_or_says_that_it_has_none() {
        let mut response = response(Some(TaskStatus::InvalidTask), None, None);
        let source = |response: &TaskMessage| {
            let report = entry(response, &Headers::new(), true, Timestamp::default()).unwrap();
            report.failure.unwrap().failure_source.unwrap()
        };
        response.source_info = Some(SourceInfo { name: None, version: None });
        assert_eq!(source(&response), "Unknown - worker name not set");
        response.source_info = None;
        assert_eq!(source(&response), "Unknown - no source info");
    }
}
