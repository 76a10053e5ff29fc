//! One delivery, from the queue to its end.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::broadcast::error::RecvError;

use super::context::TaskContext;
use super::counts::Counters;
use super::finisher::{Finished, Finisher};
use super::intake::{Try, Verdict, check_is_due, counted, passed_on, verdict, which_try};
use super::outcome::{End, Outcome, ResultMessage, WorkerResult, describe};
use super::place::Place;
use super::publishing::{Unroutable, publish_all};
use super::registry::{Mismatch, Registry};
use super::report;
use super::responses::{Received, Response, Responses, Style, TrackTo, sent};
use super::settings::RunnerSettings;
use super::status::{StatusQuestion, StatusSource};
use crate::clock::{Clock, IdSource};
use crate::id::{IdError, JobKey, JobTaskId};
use crate::lifecycle::JobStatus;
use crate::message::{
    MESSAGE_VERSION, TaskMessage, TaskStatus, TrackingInfo, TrackingReportTask, same_queue, set_aside,
};
use crate::queue::{Delivery, Publication, Settlement, TaskQueue};
use crate::shutdown::Shutdown;
use crate::signals::Signals;

/// How often a running task looks whether its job is still wanted, where its message does not say.
const WATCH_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
/// And how often at most.
const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// The longest time a delivery is held until it is tried again: well below the half hour after which a broker takes a
/// consumer for dead.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// What the tasks of a runner share.
#[derive(Debug)]
pub(super) struct Station {
    pub(super) input: String,
    pub(super) queue: Arc<dyn TaskQueue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) status: Arc<dyn StatusSource>,
    /// Tells of jobs that end, where the engine runs in this process.
    pub(super) signals: Option<Signals>,
    pub(super) registry: Registry,
    pub(super) settings: RunnerSettings,
    pub(super) style: Arc<Style>,
    pub(super) coalesce: bool,
    pub(super) counters: Arc<Counters>,
    pub(super) finisher: Arc<Finisher>,
    /// Owns the tasks that run or wait; stopped when they are to come to an end.
    pub(super) running: Shutdown,
}

/// Why a worker's future was dropped before its end.
enum Broken {
    JobEnded,
    Unroutable(Unroutable),
}

impl Station {
    pub(super) async fn process(self: Arc<Self>, delivery: Delivery, place: Arc<Place>) {
        self.counters.received.add();
        let mut message = match TaskMessage::decode(&delivery.body) {
            Ok(message) => message,
            Err(error) => return self.set_aside(delivery, &error.to_string()),
        };
        let tracked = message.tracking.as_ref().and_then(|tracking| tracking.job_task_id.as_deref());
        let job_task_id: Option<Result<JobTaskId, IdError>> = tracked.map(str::parse);
        let job = job_task_id.as_ref().and_then(|id| id.as_ref().ok()).map(|id| &id.job);
        let status = self.status_of(&mut message, job).await;
        let intended = !self.settings.forward_diverted || message.is_intended_for(&self.input);
        match (verdict(status, intended, self.settings.paused_queue.is_some()), job_task_id.transpose()) {
            (Verdict::Discard, _) => {
                self.counters.discarded.add();
                self.finish(delivery, Vec::new(), Settlement::Reject);
            }
            (Verdict::Hold, _) => {
                self.counters.paused.add();
                let queue = self.settings.paused_queue.as_deref();
                let held = queue.map(|queue| passed_on(&message, &delivery.headers, queue));
                self.finish(delivery, Vec::from_iter(held), Settlement::Ack);
            }
            (Verdict::Forward, _) => {
                self.counters.forwarded.add();
                if message.ends_tracking() {
                    message.tracking = None;
                }
                let to = message.to.as_deref();
                let forwarded = to.map(|to| passed_on(&message, &delivery.headers, to));
                self.finish(delivery, Vec::from_iter(forwarded), Settlement::Ack);
            }
            (Verdict::Run, Ok(job_task_id)) => self.admit(message, job_task_id, delivery, &place).await,
            (Verdict::Run, Err(error)) => self.set_aside(delivery, &format!("tracking.jobTaskId: {error}")),
        }
    }

    /// Asks for the status if it is time to, and writes the answer's date into the message.
    async fn status_of(&self, message: &mut TaskMessage, job: Option<&JobKey>) -> Option<JobStatus> {
        let (Some(tracking), Some(job)) = (&mut message.tracking, job) else {
            return Some(JobStatus::Active);
        };
        if !check_is_due(tracking, self.clock.now()) {
            return Some(JobStatus::Active);
        }
        match self.status.ask(question(tracking, job)).await {
            Ok(Some(answer)) => {
                if answer.status.is_some() {
                    tracking.last_status_check_time = Some(answer.as_of);
                    tracking.status_check_interval_millis = millis(answer.valid_for);
                }
                answer.status
            }
            Ok(None) => Some(JobStatus::Active),
            Err(error) => {
                tracing::warn!(%error, "the status of a job could not be asked for");
                Some(JobStatus::Active)
            }
        }
    }

    async fn admit(
        self: &Arc<Self>,
        message: TaskMessage,
        job_task_id: Option<JobTaskId>,
        mut delivery: Delivery,
        place: &Place,
    ) {
        let next = which_try(&delivery.headers, delivery.redeliveries, self.settings.retry_limit);
        if let Try::Count { retries } = next {
            self.counters.retried.add();
            let queue = self.settings.retry_queue.as_deref().unwrap_or(&self.input);
            let again = counted(&delivery, queue, retries);
            return self.finish(delivery, vec![again], Settlement::Ack);
        }
        let (Try::Run { retries } | Try::Count { retries } | Try::Poison { retries }) = next;
        let received = Arc::new(Received {
            message,
            headers: std::mem::take(&mut delivery.headers),
            queue: std::mem::take(&mut delivery.queue),
            retries,
            job_task_id,
        });
        let responses = Responses::to(Arc::clone(&received), Arc::clone(&self.style), Arc::clone(&self.ids));
        let context = TaskContext::new(
            Arc::clone(&received),
            responses,
            Arc::clone(&self.clock),
            self.running.clone(),
            &self.settings.context_key,
            self.settings.progress_interval,
        );
        match next {
            Try::Poison { .. } => self.poison(&received.message, &context, delivery),
            _ => self.execute(&received.message, &context, delivery, place).await,
        }
    }

    async fn execute(
        self: &Arc<Self>,
        message: &TaskMessage,
        context: &TaskContext,
        delivery: Delivery,
        place: &Place,
    ) {
        let worker = match self.registry.find(message) {
            Ok(worker) => worker,
            Err(Mismatch::Invalid(text)) => return self.invalid(message, context, text, delivery),
            Err(Mismatch::Newer(text)) => {
                tracing::warn!(queue.name = self.input, reason = text, "a task is left to a newer worker");
                return self.retry(context, None, delivery);
            }
        };
        let Some(payload) = &message.task_data else {
            let text = "Invalid input message: task not specified".to_owned();
            return self.invalid(message, context, text, delivery);
        };
        let work = match worker.start(payload, context) {
            Ok(work) => work,
            Err(error) => {
                return self.invalid(message, context, format!("Invalid input message: {error}"), delivery);
            }
        };
        let version = worker.api_version();
        match self.drive(work, context, place).await {
            Ok(outcome) => self.conclude(message, context, worker.kind(), version, outcome, delivery),
            Err(Broken::JobEnded) => {
                self.counters.discarded.add();
                self.finish(delivery, Vec::new(), Settlement::Reject);
            }
            Err(Broken::Unroutable(Unroutable(queue))) => {
                tracing::warn!(
                    queue.name = queue,
                    "a task is tried again later: its subtasks' queue does not exist"
                );
                self.retry(context, None, delivery);
            }
        }
    }

    /// Runs a worker's future while its subtasks are published and its job is watched.
    async fn drive(
        &self,
        work: BoxFuture<'_, WorkerResult>,
        context: &TaskContext,
        place: &Place,
    ) -> Result<Outcome, Broken> {
        let mut publishing = pin!(self.publish_pending(context, place));
        let mut watching = pin!(self.watch(context));
        let result = tokio::select! {
            biased;
            result = AssertUnwindSafe(work).catch_unwind() => result,
            published = &mut publishing => {
                published?;
                unreachable!("only closing ends it without an error");
            }
            never = &mut watching => match never {},
        };
        context.close();
        tokio::select! {
            biased;
            published = publishing => published?,
            never = watching => match never {},
        }
        Ok(match result {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => Outcome::failed(describe(error.as_ref())),
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "of an unknown kind".to_owned());
                tracing::error!(task.id = context.task_id(), panic = text, "a worker panicked");
                Outcome::failed(format!("the worker panicked: {text}"))
            }
        })
    }

    async fn publish_pending(&self, context: &TaskContext, place: &Place) -> Result<(), Broken> {
        let waits_for = |queue: &str| {
            if same_queue(queue, &self.input) {
                place.wait(&self.input, self.clock.now());
            }
        };
        while let Some(messages) = context.take_pending().await {
            tokio::select! {
                biased;
                published = publish_all(self.queue.as_ref(), self.clock.as_ref(), &waits_for, messages) => {
                    published.map_err(Broken::Unroutable)?;
                    place.go_on();
                }
                () = context.cancelled() => return Err(Broken::JobEnded),
            }
        }
        Ok(())
    }

    /// Completes when the job of a running task was cancelled or deleted in this process; never where nobody tells.
    async fn told_of_end(&self, job: &JobKey) {
        let Some(signals) = &self.signals else { return std::future::pending().await };
        let mut withdrawn = signals.withdrawn_jobs();
        loop {
            match withdrawn.recv().await {
                Ok(ended) if ended == *job => return,
                // What was missed costs one look at the status.
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return std::future::pending().await,
            }
        }
    }

    async fn watch(&self, context: &TaskContext) -> Infallible {
        let (Some(tracking), Some(task)) = (context.tracking(), context.job_task_id()) else {
            return std::future::pending().await;
        };
        tokio::select! {
            () = self.told_of_end(&task.job) => context.end_job(),
            () = self.ask_now_and_then(tracking, &task.job, context) => {}
        }
        std::future::pending().await
    }

    /// Returns once there is nothing more to ask, the context being told if the job is not wanted any more.
    async fn ask_now_and_then(&self, tracking: &TrackingInfo, job: &JobKey, context: &TaskContext) {
        let mut interval = match tracking.status_check_interval_millis {
            0 => WATCH_INTERVAL_DEFAULT,
            millis => Duration::from_millis(u64::try_from(millis).unwrap_or(0)),
        };
        loop {
            self.clock.sleep(interval.max(WATCH_INTERVAL_MIN)).await;
            match self.status.ask(question(tracking, job)).await {
                Ok(Some(answer)) if verdict(answer.status, true, false) == Verdict::Discard => {
                    return context.end_job();
                }
                Ok(Some(answer)) => {
                    context.checked(answer.as_of, millis(answer.valid_for));
                    interval = answer.valid_for;
                }
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "the status of a job could not be asked for"),
            }
        }
    }

    fn conclude(
        self: &Arc<Self>,
        message: &TaskMessage,
        context: &TaskContext,
        kind: &str,
        api_version: i32,
        outcome: Outcome,
        delivery: Delivery,
    ) {
        let Outcome { end, state } = outcome;
        let success = matches!(end, End::Done | End::Result(_));
        if !success && context.is_cancelled() {
            self.counters.discarded.add();
            return self.finish(delivery, Vec::new(), Settlement::Reject);
        }
        let response = Response {
            to: None,
            status: TaskStatus::ResultSuccess,
            kind: kind.to_owned(),
            api_version,
            data: Bytes::new(),
            track_to: TrackTo::AsReceived,
            with_context: true,
            state,
            failure: None,
        };
        let response = match end {
            End::Retry { after } => return self.retry(context, after, delivery),
            End::Rejected { message: text } => return self.invalid(message, context, text, delivery),
            End::Done => Response { track_to: TrackTo::Replaced(None), ..response },
            End::Result(ResultMessage { queue, kind, api_version, data, success, completes }) => Response {
                track_to: match completes {
                    true => TrackTo::Replaced(Some(queue.clone())),
                    false => TrackTo::AsReceived,
                },
                to: Some(queue),
                status: if success { TaskStatus::ResultSuccess } else { TaskStatus::ResultFailure },
                kind,
                api_version,
                data,
                ..response
            },
            End::Failed { id, message: text } => Response {
                to: self.answer_queue(message),
                status: TaskStatus::ResultException,
                // A text in JSON, as the framework's own workers answer.
                data: serde_json::Value::from(text.as_str()).to_string().into(),
                failure: Some((id, text)),
                ..response
            },
        };
        let counter = if success { &self.counters.succeeded } else { &self.counters.failed };
        counter.add();
        self.answer(context, response, Vec::new(), delivery);
    }

    /// Messaging contract §2.12.
    fn invalid(&self, message: &TaskMessage, context: &TaskContext, text: String, delivery: Delivery) {
        self.counters.failed.add();
        tracing::warn!(
            queue.name = self.input,
            task.id = message.task_id,
            reason = text,
            "a task makes no sense"
        );
        let response = Response {
            to: self.answer_queue(message),
            status: TaskStatus::InvalidTask,
            kind: message.task_classifier.clone().unwrap_or_default(),
            api_version: message.task_api_version,
            data: text.into(),
            track_to: TrackTo::AsReceived,
            with_context: true,
            state: None,
            failure: None,
        };
        self.answer(context, response, Vec::new(), delivery);
    }

    /// Messaging contract §2.13: a copy is set aside, and the task fails.
    fn poison(self: &Arc<Self>, message: &TaskMessage, context: &TaskContext, delivery: Delivery) {
        self.counters.poisoned.add();
        let kind = message.task_classifier.clone().unwrap_or_default();
        let settings = &self.settings;
        let name = settings.friendly_name.as_ref().or(settings.name.as_ref()).unwrap_or(&kind);
        let text = format!("{name} could not process the item.");
        tracing::warn!(queue.name = self.input, task.id = message.task_id, "a task exceeded its retries");
        let copy = TaskMessage {
            version: MESSAGE_VERSION,
            task_id: self.ids.next().to_string(),
            task_classifier: Some(kind.clone()),
            task_api_version: message.task_api_version,
            task_data: Some(message.task_data.clone().unwrap_or_default()),
            task_status: Some(TaskStatus::ResultException),
            context: Some(std::collections::BTreeMap::new()),
            to: Some(settings.reject_queue(&self.input)),
            tracking: message.tracking.clone(),
            source_info: message.source_info.clone(),
            priority: None,
            correlation_id: message.correlation_id.clone(),
        };
        self.counters.failed.add();
        let response = Response {
            // The copy is enough where nobody is named to answer to.
            to: settings.output_queue.clone(),
            status: TaskStatus::ResultException,
            kind,
            api_version: message.task_api_version,
            data: serde_json::Value::from(text.as_str()).to_string().into(),
            track_to: TrackTo::AsReceived,
            with_context: true,
            state: None,
            failure: Some((None, text)),
        };
        self.answer(context, response, Vec::from_iter(sent(copy)), delivery);
    }

    /// Where failures are answered: the output queue, or, where no report would tell of them either, the reject queue.
    fn answer_queue(&self, message: &TaskMessage) -> Option<String> {
        let reported = message.tracking.as_ref().is_some_and(|tracking| {
            tracking.job_task_id.is_some()
                && tracking.tracking_pipe.as_deref().is_some_and(|pipe| !pipe.is_empty())
        });
        let unheard = || (!reported).then(|| self.settings.reject_queue(&self.input));
        self.settings.output_queue.clone().or_else(unheard)
    }

    fn answer(
        &self,
        context: &TaskContext,
        response: Response,
        mut publications: Vec<Publication>,
        delivery: Delivery,
    ) {
        let (last, mut entry) = context.last(response);
        if !self.coalesce
            && let Some(entry) = entry.take()
        {
            let reports = TrackingReportTask { tracking_reports: vec![entry.report] };
            let correlation_id = entry.correlation_id.as_deref();
            publications.push(report::publication(&reports, &entry.pipe, correlation_id, self.ids.as_ref()));
        }
        publications.extend(last);
        self.finisher.finish(Finished { delivery, publications, entry, settlement: Settlement::Ack });
    }

    /// The delivery is held until it is time to try again. That it holds a place of the prefetch is meant: a runner all of
    /// whose tasks wait takes no more.
    fn retry(self: &Arc<Self>, context: &TaskContext, after: Option<Duration>, delivery: Delivery) {
        self.counters.retried.add();
        let retries = context.attempt() - 1;
        let spread = context.task_id().bytes().fold(0, |sum: u64, byte| sum.rotate_left(7) ^ u64::from(byte));
        let wait = after.unwrap_or_else(|| self.settings.retry_backoff.wait(retries, spread));
        let wait = self.clock.sleep(wait.min(RETRY_WAIT_MAX));
        let stopping = self.running.stopping();
        self.running.spawn(async move {
            tokio::select! {
                () = stopping => {}
                () = wait => {}
            }
            if let Err(error) = delivery.requeue().await {
                tracing::debug!(%error, "a delivery to be tried again is with its queue already");
            }
        });
    }

    fn set_aside(&self, delivery: Delivery, reason: &str) {
        self.counters.set_aside.add();
        let queue = self.settings.unreadable_queue(&self.input);
        tracing::warn!(queue.name = self.input, reason, "a message that cannot be read is set aside");
        let publication = set_aside(&delivery, &queue, reason);
        self.finish(delivery, vec![publication], Settlement::Ack);
    }

    fn finish(&self, delivery: Delivery, publications: Vec<Publication>, settlement: Settlement) {
        self.finisher.finish(Finished { delivery, publications, entry: None, settlement });
    }
}

fn question<'a>(tracking: &'a TrackingInfo, job: &'a JobKey) -> StatusQuestion<'a> {
    let interval = Duration::from_millis(u64::try_from(tracking.status_check_interval_millis).unwrap_or(0));
    StatusQuestion { job, url: tracking.status_check_url.as_deref(), interval }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
