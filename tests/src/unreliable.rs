//! A worker that speaks the wire format by hand, and crashes, hangs, repeats and reorders as its seed says.
//!
//! It splits a task into `width` subtasks, `depth` levels deep, on its own queue. What it says about a task is always the
//! same, as a redelivered task must say it; only when and how often differs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use job_core::message::{
    ReportStatus, TRACKING_REPORT_CLASSIFIER, TaskMessage, TaskStatus, TrackingReport, TrackingReportTask,
};
use job_core::queue::{ConsumeOptions, Delivery, Publication, PublishOutcome, TaskQueue};
use job_core::{Failure, Shutdown, Timestamp};
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// The payload of its tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Split {
    /// How many subtasks each task has.
    pub width: u32,
    /// How many levels are left; a task with none left does nothing.
    pub depth: u32,
    /// Of 100 leaves, how many report a failure before they complete.
    pub fails_first: u32,
    /// Whether leaves numbered 3 never complete.
    pub fails_for_good: bool,
}

impl Split {
    /// A tree of this shape without failures.
    #[must_use]
    pub const fn new(width: u32, depth: u32) -> Self {
        Self { width, depth, fails_first: 0, fails_for_good: false }
    }

    /// How many completions the tree reports: its leaves, and one final response for each task that splits.
    #[must_use]
    pub fn completions(&self) -> u64 {
        let level = |depth| u64::from(self.width).pow(depth);
        level(self.depth) + (0..self.depth).map(level).sum::<u64>()
    }
}

/// What it has to say about a task.
#[derive(Debug, Clone, Default)]
struct Answer {
    subtasks: Vec<Publication>,
    reports: Vec<Publication>,
    /// The task is to be delivered again, to be completed after a failure.
    again: bool,
}

/// How often it misbehaves, of 100 deliveries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Misbehaviour {
    /// Dies before it does anything.
    pub crash_before: u64,
    /// Dies half-way through its subtasks.
    pub crash_midway: u64,
    /// Dies when all is done but the ack.
    pub crash_before_ack: u64,
    /// Reports twice.
    pub repeat: u64,
    /// Keeps the delivery for a while, then dies.
    pub hang: u64,
    /// Keeps its report back and sends it later, among others.
    pub reorder: u64,
}

impl Misbehaviour {
    /// A bad day.
    pub const BAD: Self =
        Self { crash_before: 5, crash_midway: 5, crash_before_ack: 5, repeat: 10, hang: 3, reorder: 20 };
}

/// The worker; run several on one queue.
#[derive(Debug)]
pub struct UnreliableWorker {
    queue: Arc<dyn TaskQueue>,
    input: String,
    misbehaviour: Misbehaviour,
    random: Random,
    hanging: Vec<Delivery>,
    held_back: Vec<(Delivery, Answer)>,
    /// Leaves that have failed once, shared by all workers of a queue: a failure must not repeat for ever.
    failed_once: Arc<Mutex<BTreeSet<String>>>,
}

impl UnreliableWorker {
    /// Consumes `input`.
    #[must_use]
    pub fn new(queue: Arc<dyn TaskQueue>, input: &str, misbehaviour: Misbehaviour, seed: u64) -> Self {
        let failed_once = Arc::default();
        let random = Random::new(seed);
        Self {
            queue,
            input: input.to_owned(),
            misbehaviour,
            random,
            hanging: vec![],
            held_back: vec![],
            failed_once,
        }
    }

    /// Remembers first failures together with other workers.
    #[must_use]
    pub fn sharing_failures(mut self, failed_once: &Arc<Mutex<BTreeSet<String>>>) -> Self {
        self.failed_once = Arc::clone(failed_once);
        self
    }

    /// Works until it is stopped.
    ///
    /// # Panics
    /// When the queue cannot be consumed at all.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            let Ok(mut deliveries) = self.queue.consume(&self.input, ConsumeOptions { prefetch: 50 }).await
            else {
                tokio::task::yield_now().await;
                continue;
            };
            loop {
                let next = tokio::select! {
                    biased;
                    () = shutdown.stopping() => return,
                    next = deliveries.next() => next,
                };
                let Some(delivery) = next else { break };
                self.handle(delivery).await;
                self.give_up_some().await;
                // Nothing may come any more while reports are held back: then they go out now.
                if self.queue.depth(&self.input).await.ok().flatten().unwrap_or(0) == 0 {
                    self.flush().await;
                    self.hanging.clear();
                }
            }
        }
    }

    async fn handle(&mut self, delivery: Delivery) {
        if self.random.percent(self.misbehaviour.crash_before) {
            return;
        }
        if self.random.percent(self.misbehaviour.hang) {
            self.hanging.push(delivery);
            return;
        }
        let Ok(message) = TaskMessage::decode(&delivery.body) else {
            let _ = delivery.reject().await;
            return;
        };
        let mut answer = self.answer(&message);
        let subtasks = std::mem::take(&mut answer.subtasks);
        if self.random.percent(self.misbehaviour.crash_midway) {
            let half = subtasks.len() / 2;
            self.publish(subtasks.into_iter().take(half).collect()).await;
            return;
        }
        if !self.publish(subtasks).await {
            return;
        }
        if self.random.percent(self.misbehaviour.reorder) {
            self.held_back.push((delivery, answer));
            return;
        }
        self.finish(delivery, answer).await;
    }

    async fn finish(&mut self, delivery: Delivery, answer: Answer) {
        if self.random.percent(self.misbehaviour.repeat) {
            self.publish(answer.reports.clone()).await;
        }
        let confirmed = self.publish(answer.reports).await;
        if confirmed && !answer.again && !self.random.percent(self.misbehaviour.crash_before_ack) {
            let _ = delivery.ack().await;
        }
    }

    async fn give_up_some(&mut self) {
        if self.hanging.len() > 5 {
            self.hanging.remove(0);
        }
        if self.held_back.len() > 20 {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        while !self.held_back.is_empty() {
            let at = self.random.below(self.held_back.len() as u64) as usize;
            let (delivery, answer) = self.held_back.swap_remove(at);
            self.finish(delivery, answer).await;
        }
    }

    async fn publish(&self, publications: Vec<Publication>) -> bool {
        if publications.is_empty() {
            return true;
        }
        let outcomes = self.queue.publish(publications).await;
        outcomes.is_ok_and(|outcomes| outcomes.iter().all(|outcome| *outcome == PublishOutcome::Confirmed))
    }

    fn answer(&self, message: &TaskMessage) -> Answer {
        let split: Split = serde_json::from_slice(message.task_data.as_deref().unwrap_or_default())
            .unwrap_or(Split::new(0, 0));
        let tracking = message.tracking.as_ref().expect("every task of these tests is tracked");
        let id = tracking.job_task_id.clone().unwrap_or_default();
        if split.depth == 0 {
            let (report, again) = self.leaf(&id, &split);
            return Answer { reports: vec![Self::report(message, vec![report])], again, ..Answer::default() };
        }
        let below = Split { depth: split.depth - 1, ..split };
        let payload = serde_json::to_vec(&below).expect("a plain struct");
        let subtasks = (1..=below.width).map(|number| {
            let mut subtask = message.clone();
            subtask.task_id = format!("{}.{number}", message.task_id);
            subtask.task_data = Some(payload.clone().into());
            if let Some(tracking) = &mut subtask.tracking {
                tracking.job_task_id = Some(format!("{id}.{number}"));
            }
            Publication::new(self.input.clone(), subtask.encode())
        });
        let mut entries: Vec<TrackingReport> = (1..=below.width)
            .map(|number| TrackingReport::new(format!("{id}.{number}"), ReportStatus::Progress))
            .collect();
        entries.push(TrackingReport::new(format!("{id}.{}*", below.width + 1), ReportStatus::Complete));
        let reports = entries.chunks(5).map(|entries| Self::report(message, entries.to_vec())).collect();
        Answer { subtasks: subtasks.collect(), reports, again: false }
    }

    /// Its report, and whether it is to be tried again.
    fn leaf(&self, id: &str, split: &Split) -> (TrackingReport, bool) {
        let number: u32 = id.rsplit('.').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        let fails_first = {
            let mut failed = self.failed_once.lock().expect("no panic while it is held");
            number % 100 < split.fails_first && failed.insert(id.to_owned())
        };
        if fails_first || (split.fails_for_good && number == 3) {
            let failure = Failure {
                id: TaskStatus::ResultException.as_str().to_owned(),
                time: Timestamp::from_millis(1_732_406_405_123),
                source: "unreliable".to_owned(),
                message: "boom".to_owned(),
            };
            return (TrackingReport::failed(id, failure), fails_first);
        }
        (TrackingReport::new(id, ReportStatus::Complete), false)
    }

    fn report(message: &TaskMessage, tracking_reports: Vec<TrackingReport>) -> Publication {
        let tracking = message.tracking.as_ref().expect("every task of these tests is tracked");
        let queue = tracking.tracking_pipe.clone().unwrap_or_default();
        let data = TrackingReportTask { tracking_reports }.encode();
        let report = TaskMessage::new_task(
            message.task_id.clone(),
            TRACKING_REPORT_CLASSIFIER,
            1,
            data,
            queue.clone(),
        );
        Publication::new(queue, report.encode())
    }
}
