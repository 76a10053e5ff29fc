//! The messages that answer one task: their numbers, their reports and the order of both (messaging contract §2.12, §3.1
//! and §4.1). Nothing here publishes.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use super::report;
use crate::clock::{IdSource, Timestamp};
use crate::id::{IdError, JobTaskId, TASK_DEPTH_MAX, TASK_NUMBER_MAX};
use crate::message::{
    JOB_TRACKING_CLASSIFIER, MESSAGE_VERSION, SourceInfo, TaskMessage, TaskStatus, TrackingInfo,
    TrackingReport, TrackingReportTask,
};
use crate::queue::{Headers, Publication};
use crate::trace::TRACEPARENT;

/// What a runner puts into every response.
#[derive(Debug)]
pub(super) struct Style {
    pub(super) name: Option<String>,
    pub(super) version: Option<String>,
    pub(super) context_key: String,
    pub(super) report_buffer: usize,
    pub(super) zero_progress: bool,
}

/// A response before it is numbered.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) to: Option<String>,
    pub(super) status: TaskStatus,
    pub(super) kind: String,
    pub(super) api_version: i32,
    pub(super) data: Bytes,
    pub(super) track_to: TrackTo,
    pub(super) with_context: bool,
    pub(super) state: Option<Bytes>,
    /// Id and message of the failure to report, where they are not the status' name and the payload.
    pub(super) failure: Option<(Option<String>, String)>,
}

/// Where a response's tracking ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TrackTo {
    /// Where the task's own does.
    AsReceived,
    /// At this queue; none means where the response has no destination.
    Replaced(Option<String>),
}

/// The payload of a message about a percentage, in the member order of its Java class and with a whole number, as that
/// class declares it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Percentage<'a> {
    job_task_id: &'a str,
    estimated_percentage_completed: u8,
}

/// An entry of a report message, and what decides which message it can travel in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pipe: String,
    pub(super) correlation_id: Option<String>,
    pub(super) report: TrackingReport,
}

/// Numbers the responses to one task and gathers their reports.
#[derive(Debug)]
pub(super) struct Responses {
    style: Arc<Style>,
    ids: Arc<dyn IdSource>,
    received: Arc<Received>,
    check: Option<(Timestamp, i64)>,
    subtasks: u32,
    reports: Vec<TrackingReport>,
}

/// A task as it arrived.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) message: TaskMessage,
    pub(super) headers: Headers,
    /// The queue it was taken from.
    pub(super) queue: String,
    /// How often it was delivered in vain before.
    pub(super) retries: u32,
    /// Its place in its job; none when it is not tracked.
    pub(super) job_task_id: Option<JobTaskId>,
}

impl Received {
    pub(super) fn tracking(&self) -> Option<&TrackingInfo> {
        self.message.tracking.as_ref()
    }

    fn correlation_id(&self) -> Option<&str> {
        self.message.correlation_id.as_deref()
    }
}

impl Responses {
    pub(super) fn to(received: Arc<Received>, style: Arc<Style>, ids: Arc<dyn IdSource>) -> Self {
        Self { style, ids, received, check: None, subtasks: 0, reports: Vec::new() }
    }

    /// What the following responses say about the last status check.
    pub(super) fn checked(&mut self, time: Timestamp, interval_millis: i64) {
        self.check = Some((time, interval_millis));
    }

    /// Appends a subtask to `out`, behind the report that it pushes out of the buffer.
    pub(super) fn subtask(
        &mut self,
        response: Response,
        now: Timestamp,
        out: &mut Vec<Publication>,
    ) -> Result<(), IdError> {
        let number = self.next_number()?;
        let message = self.message(response, Some((number, "")));
        self.subtasks = number;
        if let Some(report) = report::entry(&message, &self.received.headers, self.style.zero_progress, now) {
            self.buffer(report, out);
        }
        out.extend(sent(message).map(|publication| self.traced(publication)));
        Ok(())
    }

    /// Appends the reports still in the buffer and the final response. When it is the only response its entry is
    /// returned, so that it may travel with those of other tasks.
    pub(super) fn last(
        &mut self,
        response: Response,
        now: Timestamp,
        out: &mut Vec<Publication>,
    ) -> Option<Entry> {
        let failure = response.failure.clone();
        let number = (self.subtasks > 0).then(|| (self.subtasks.saturating_add(1), "*"));
        let message = self.message(response, number);
        let mut report = report::entry(&message, &self.received.headers, self.style.zero_progress, now);
        if let (Some(reported), Some((id, text))) =
            (report.as_mut().and_then(|report| report.failure.as_mut()), failure)
        {
            reported.failure_id = id.or(reported.failure_id.take());
            reported.failure_message = Some(text);
        }
        let mut alone = None;
        match report {
            Some(report) if self.subtasks == 0 => {
                alone = self.pipe().map(|pipe| Entry {
                    pipe: pipe.to_owned(),
                    correlation_id: self.received.message.correlation_id.clone(),
                    report,
                });
            }
            Some(report) => self.buffer(report, out),
            None => {}
        }
        self.flush(out);
        out.extend(sent(message).map(|publication| self.traced(publication)));
        alone
    }

    /// What a task sends belongs to its trace.
    fn traced(&self, mut publication: Publication) -> Publication {
        if let Some(trace) = self.received.headers.get(TRACEPARENT) {
            publication.headers.insert(TRACEPARENT.to_owned(), trace.clone());
        }
        publication
    }

    /// A message that says how far the task itself is; none when nobody listens.
    pub(super) fn percentage(&self, percentage: u8) -> Option<Publication> {
        let pipe = self.pipe()?;
        let task = self.received.tracking()?.job_task_id.as_deref()?;
        let payload = Percentage { job_task_id: task, estimated_percentage_completed: percentage };
        let payload = serde_json::to_vec(&payload).expect("a text and a number always serialise");
        let mut message =
            TaskMessage::new_task(self.ids.next().to_string(), JOB_TRACKING_CLASSIFIER, 1, payload, pipe);
        message.correlation_id.clone_from(&self.received.message.correlation_id);
        Some(Publication::new(pipe, message.encode()))
    }

    fn next_number(&self) -> Result<u32, IdError> {
        // The final response needs a number of its own.
        let number = self.subtasks.saturating_add(1);
        if number >= TASK_NUMBER_MAX {
            return Err(IdError::Number(number.to_string()));
        }
        let depth = self.received.job_task_id.as_ref().map_or(0, |id| id.task.path().depth());
        if depth >= TASK_DEPTH_MAX {
            return Err(IdError::TooDeep);
        }
        Ok(number)
    }

    fn pipe(&self) -> Option<&str> {
        self.received.tracking()?.tracking_pipe.as_deref().filter(|pipe| !pipe.is_empty())
    }

    fn message(&self, response: Response, number: Option<(u32, &str)>) -> TaskMessage {
        let numbered = |id: &str| {
            let mut id = id.to_owned();
            if let Some((number, mark)) = number {
                write!(id, ".{number}{mark}").expect("writing to a string never fails");
            }
            id
        };
        let received = &self.received.message;
        let tracking = received.tracking.as_ref().map(|tracking| {
            let mut tracking = TrackingInfo {
                job_task_id: tracking.job_task_id.as_deref().map(numbered),
                ..tracking.clone()
            };
            if let Some((time, interval_millis)) = self.check {
                tracking.last_status_check_time = Some(time);
                tracking.status_check_interval_millis = interval_millis;
            }
            if let TrackTo::Replaced(track_to) = response.track_to {
                tracking.track_to = track_to;
            }
            tracking
        });
        let inherited = received.context.as_ref().filter(|_| response.with_context);
        let mut context = inherited.cloned().unwrap_or_default();
        if let Some(state) = response.state {
            context.insert(self.style.context_key.clone(), state);
        }
        let source = SourceInfo {
            name: Some(self.style.name.clone().unwrap_or_else(|| response.kind.clone())),
            version: Some(self.style.version.clone().unwrap_or_else(|| "UNKNOWN".to_owned())),
        };
        TaskMessage {
            version: MESSAGE_VERSION,
            task_id: numbered(&received.task_id),
            task_classifier: Some(response.kind),
            task_api_version: response.api_version,
            task_data: Some(response.data),
            task_status: Some(response.status),
            context: Some(context),
            to: response.to,
            tracking,
            source_info: Some(source),
            priority: None,
            correlation_id: received.correlation_id.clone(),
        }
    }

    fn buffer(&mut self, report: TrackingReport, out: &mut Vec<Publication>) {
        if self.reports.len() >= self.style.report_buffer.max(1) {
            self.flush(out);
        }
        self.reports.push(report);
    }

    fn flush(&mut self, out: &mut Vec<Publication>) {
        if self.reports.is_empty() {
            return;
        }
        let reports = TrackingReportTask { tracking_reports: std::mem::take(&mut self.reports) };
        if let Some(pipe) = self.pipe() {
            out.push(report::publication(&reports, pipe, self.received.correlation_id(), self.ids.as_ref()));
        }
    }
}

/// The response as it is published, its tracking removed where tracking ends; none without a destination.
pub(super) fn sent(mut message: TaskMessage) -> Option<Publication> {
    if message.ends_tracking() {
        message.tracking = None;
    }
    let body = message.encode();
    Some(Publication::new(message.to?, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SequentialIds;

    fn style(report_buffer: usize) -> Arc<Style> {
        Arc::new(Style {
            name: Some("worker-batch".into()),
            version: Some("3.7.0".into()),
            context_key: "caf/worker".into(),
            report_buffer,
            zero_progress: true,
        })
    }

    fn incoming(job_task_id: &str) -> TaskMessage {
        let mut message = TaskMessage::new_task("T", "W", 1, &b"{}"[..], "w-in");
        message.context = Some([("other".to_owned(), Bytes::from_static(b"kept"))].into());
        message.correlation_id = Some("c-1".into());
        message.tracking = Some(TrackingInfo {
            job_task_id: Some(job_task_id.to_owned()),
            last_status_check_time: Some(Timestamp::from_millis(5)),
            status_check_interval_millis: 1000,
            status_check_url: None,
            tracking_pipe: Some("track".into()),
            track_to: Some("out".into()),
        });
        message
    }

    fn responses(message: &TaskMessage, report_buffer: usize) -> Responses {
        let tracked = message.tracking.as_ref().and_then(|tracking| tracking.job_task_id.as_deref());
        let received = Received {
            message: message.clone(),
            headers: Headers::new(),
            queue: "w-in".into(),
            retries: 0,
            job_task_id: tracked.map(|id| id.parse().unwrap()),
        };
        Responses::to(Arc::new(received), style(report_buffer), Arc::new(SequentialIds::default()))
    }

    fn response(to: Option<&str>, track_to: TrackTo) -> Response {
        Response {
            to: to.map(str::to_owned),
            status: TaskStatus::NewTask,
            kind: "Item".into(),
            api_version: 1,
            data: Bytes::from_static(b"{}"),
            track_to,
            with_context: false,
            state: None,
            failure: None,
        }
    }

    /// `.n` for a subtask, `[.a .b]` for a report message.
    fn wire(out: &[Publication], prefix: &str) -> Vec<String> {
        out.iter()
            .map(|publication| {
                let message = TaskMessage::decode(&publication.body).unwrap();
                if publication.queue != "track" {
                    let tracked = message.tracking.and_then(|tracking| tracking.job_task_id);
                    let suffix = message.task_id.strip_prefix('T').unwrap().to_owned();
                    if let Some(tracked) = tracked {
                        assert_eq!(tracked.strip_prefix(prefix), Some(suffix.as_str()));
                    }
                    return suffix;
                }
                let entries = TrackingReportTask::decode_entries(&message.task_data.unwrap()).unwrap();
                let ids: Vec<String> = entries
                    .into_iter()
                    .map(|entry| entry.unwrap().job_task_id.strip_prefix(prefix).unwrap().to_owned())
                    .collect();
                format!("[{}]", ids.join(" "))
            })
            .collect()
    }

    fn run(job_task_id: &str, subtasks: u32, report_buffer: usize) -> (Vec<String>, Option<Entry>) {
        let message = incoming(job_task_id);
        let mut responses = responses(&message, report_buffer);
        let mut out = Vec::new();
        for _ in 0..subtasks {
            responses
                .subtask(response(Some("item-in"), TrackTo::AsReceived), Timestamp::default(), &mut out)
                .unwrap();
        }
        let alone = responses.last(response(None, TrackTo::Replaced(None)), Timestamp::default(), &mut out);
        (wire(&out, job_task_id), alone)
    }

    #[test]
    fn the_only_response_keeps_the_id() {
        let (wire, alone) = run("acme:job1", 0, 5);
        assert!(wire.is_empty());
        let alone = alone.unwrap();
        assert_eq!((alone.report.job_task_id.as_str(), alone.pipe.as_str()), ("acme:job1", "track"));
        assert_eq!(alone.correlation_id.as_deref(), Some("c-1"));
    }

    #[test]
    fn one_subtask_makes_the_final_response_the_second() {
        assert_eq!(run("acme:job1.1", 1, 5), (vec![".1".to_owned(), "[.1 .2*]".to_owned()], None));
    }

    #[test]
    fn twelve_subtasks_report_in_fives_before_the_one_that_overflows() {
        let (wire, _) = run("acme:job1", 12, 5);
        let expected =
            ".1 .2 .3 .4 .5 [.1 .2 .3 .4 .5] .6 .7 .8 .9 .10 [.6 .7 .8 .9 .10] .11 .12 [.11 .12 .13*]";
        assert_eq!(wire.join(" "), expected);
    }

    #[test]
    fn marks_inside_an_id_are_kept() {
        let (wire, _) = run("acme:job1.3*", 1, 5);
        assert_eq!(wire, [".1", "[.1 .2*]"]);
    }

    #[test]
    fn tracking_is_removed_exactly_where_it_ends() {
        let message = incoming("acme:job1");
        let mut responses = responses(&message, 5);
        let mut out = Vec::new();
        for to in ["elsewhere", "OUT"] {
            responses
                .subtask(response(Some(to), TrackTo::AsReceived), Timestamp::default(), &mut out)
                .unwrap();
        }
        let tracked: Vec<bool> = out
            .iter()
            .map(|publication| TaskMessage::decode(&publication.body).unwrap().tracking.is_some())
            .collect();
        assert_eq!(tracked, [true, false]);
    }

    #[test]
    fn contexts_pass_through_and_the_own_key_is_replaced() {
        let message = incoming("acme:job1");
        let mut responses = responses(&message, 5);
        let mut out = Vec::new();
        let last = Response {
            with_context: true,
            state: Some(Bytes::from_static(b"mine")),
            ..response(Some("elsewhere"), TrackTo::AsReceived)
        };
        responses.last(last, Timestamp::default(), &mut out);
        let context = TaskMessage::decode(&out[0].body).unwrap().context.unwrap();
        assert_eq!(context["other"], "kept");
        assert_eq!(context["caf/worker"], "mine");
    }

    #[test]
    fn later_responses_carry_the_later_status_check() {
        let message = incoming("acme:job1");
        let mut responses = responses(&message, 5);
        responses.checked(Timestamp::from_millis(77), 2000);
        let mut out = Vec::new();
        responses.subtask(response(Some("a"), TrackTo::AsReceived), Timestamp::default(), &mut out).unwrap();
        let tracking = TaskMessage::decode(&out[0].body).unwrap().tracking.unwrap();
        assert_eq!(tracking.last_status_check_time, Some(Timestamp::from_millis(77)));
        assert_eq!(tracking.status_check_interval_millis, 2000);
    }

    #[test]
    fn a_subtask_below_the_deepest_level_is_refused() {
        let message = incoming(&format!("acme:job1{}", ".1".repeat(TASK_DEPTH_MAX)));
        let mut responses = responses(&message, 5);
        let refused = responses.subtask(
            response(Some("a"), TrackTo::AsReceived),
            Timestamp::default(),
            &mut Vec::new(),
        );
        assert_eq!(refused, Err(IdError::TooDeep));
    }

    #[test]
    fn percentages_are_whole_numbers_as_the_strict_reader_expects() {
        let message = incoming("acme:job1.2");
        let publication = responses(&message, 5).percentage(40).unwrap();
        let sent = TaskMessage::decode(&publication.body).unwrap();
        assert_eq!(
            sent.task_data.as_deref(),
            Some(&br#"{"jobTaskId":"acme:job1.2","estimatedPercentageCompleted":40}"#[..])
        );
    }
}
