//! Takes the messages of paused jobs off the queue and keeps them in the store until their jobs are resumed.
//!
//! Workers put such messages on the paused queue. Whether the job is still paused is the store's answer, never the
//! message's clock: what arrives after a resume becomes due at once, so that nothing stays behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::gather::{BatchLimits, next_batch};
use crate::id::JobTaskId;
use crate::message::{MESSAGE_VERSION, TaskMessage, TaskStatus, set_aside};
use crate::queue::{ConsumeOptions, Delivery, Publication, PublishOutcome, Settlement, TaskQueue};
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::store::{JobStore, StowOutcome, StowedMessage};
use crate::telemetry;

/// How a stower works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StowerSettings {
    /// The paused queue.
    pub queue: String,
    /// Where messages that belong to no job are answered, and those that cannot be read are put.
    pub error_queue: String,
    /// When a batch closes.
    pub batch: BatchLimits,
}

impl StowerSettings {
    /// For the messages on `queue`.
    #[must_use]
    pub fn new(queue: impl Into<String>) -> Self {
        let queue = queue.into();
        let batch =
            BatchLimits { size: 100, idle: Duration::from_millis(5), time_max: Duration::from_millis(50) };
        Self { error_queue: format!("{queue}-err"), queue, batch }
    }
}

/// Counts of what a stower has done, for tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StowerCounts {
    /// Messages that the store keeps.
    pub kept: u64,
    /// Messages of jobs that are gone or finished.
    pub dropped: u64,
    /// Messages set aside.
    pub refused: u64,
}

/// Keeps the messages of paused jobs.
#[derive(Debug)]
pub struct Stower {
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
    signals: Signals,
    settings: StowerSettings,
    counts: tokio::sync::watch::Sender<StowerCounts>,
}

impl Stower {
    /// Wakes the dispatcher through `signals` when a message turns out to be due at once.
    #[must_use]
    pub fn new(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        clock: Arc<dyn Clock>,
        signals: Signals,
        settings: StowerSettings,
    ) -> Self {
        Self { store, queue, clock, signals, settings, counts: tokio::sync::watch::Sender::default() }
    }

    /// What has been done so far; changes with every batch.
    #[must_use]
    pub fn counts(&self) -> tokio::sync::watch::Receiver<StowerCounts> {
        self.counts.subscribe()
    }

    /// Works until stopping is asked for; then finishes the batch in hand and returns.
    pub async fn run(self, shutdown: Shutdown) {
        let mut failures = 0;
        while !shutdown.is_stopping() {
            let prefetch = u16::try_from(self.settings.batch.size).unwrap_or(u16::MAX).max(1);
            match self.queue.consume(&self.settings.queue, ConsumeOptions { prefetch }).await {
                Ok(mut consumer) => {
                    while let Some(batch) =
                        next_batch(&mut consumer, &self.settings.batch, self.clock.as_ref(), &shutdown).await
                    {
                        // A store that is away hands the batch back; without the pause it would come back at once.
                        if self.stow(batch).await {
                            failures = 0;
                        } else {
                            break;
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, queue.name = self.settings.queue, "the paused queue cannot be consumed");
                }
            }
            let wait = Backoff::RECONNECT.wait(failures, 1);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = shutdown.stopping() => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// Whether the batch could be dealt with.
    #[tracing::instrument(level = "debug", name = "stow", skip_all, fields(deliveries = batch.len()))]
    async fn stow(&self, batch: Vec<Delivery>) -> bool {
        let (mut wanted, mut messages, mut unwanted, mut answers) = (vec![], vec![], vec![], vec![]);
        for delivery in batch {
            match stowable(&delivery) {
                Ok(message) => {
                    messages.push(message);
                    wanted.push(delivery);
                }
                Err(reason) => {
                    tracing::warn!(queue.name = self.settings.queue, reason, "a message cannot be stowed");
                    answers.push(answer(&delivery, &reason, &self.settings.error_queue));
                    unwanted.push(delivery);
                }
            }
        }
        let (kept, refused) = (messages.len(), answers.len());
        let stowed = self.keep(messages).await;
        settle(wanted, stowed.is_some()).await;
        let answered = self.publish(answers).await;
        settle(unwanted, answered).await;
        telemetry::stowed(if stowed.is_some() { kept } else { 0 }, if answered { refused } else { 0 });
        self.counts.send_modify(|counts| {
            for outcome in stowed.iter().flatten() {
                match outcome {
                    StowOutcome::Stowed => counts.kept += 1,
                    StowOutcome::Dropped => counts.dropped += 1,
                }
            }
            counts.refused += if answered { refused as u64 } else { 0 };
        });
        stowed.is_some() && answered
    }

    /// What became of each; none when the store does not answer.
    async fn keep(&self, messages: Vec<StowedMessage>) -> Option<Vec<StowOutcome>> {
        if messages.is_empty() {
            return Some(Vec::new());
        }
        match self.store.stow(messages, self.clock.now()).await {
            Ok(outcomes) => {
                self.signals.wake_dispatcher();
                Some(outcomes)
            }
            Err(error) => {
                tracing::warn!(%error, "messages of paused jobs could not be stowed and are handed back");
                None
            }
        }
    }

    async fn publish(&self, answers: Vec<Publication>) -> bool {
        if answers.is_empty() {
            return true;
        }
        let outcomes = self.queue.publish(answers).await;
        outcomes.is_ok_and(|outcomes| outcomes.iter().all(|outcome| *outcome == PublishOutcome::Confirmed))
    }
}

async fn settle(deliveries: Vec<Delivery>, done: bool) {
    let settlement = if done { Settlement::Ack } else { Settlement::Requeue };
    if let Err(error) = Delivery::settle_all(deliveries, settlement).await {
        tracing::warn!(%error, "deliveries could not be settled");
    }
}

/// Messaging contract §6.2: the texts are its own, but for the details.
fn stowable(delivery: &Delivery) -> Result<StowedMessage, String> {
    let message = TaskMessage::decode(&delivery.body)
        .map_err(|error| format!("Unable to stow task. It cannot be read: {error}"))?;
    let tracking = message.tracking.as_ref().ok_or("Unable to stow task. Tracking info not present.")?;
    let id = tracking.job_task_id.as_deref().filter(|id| !id.is_empty());
    let id = id.ok_or("Unable to stow task. Job task ID not present.")?;
    let id: JobTaskId = id
        .parse()
        .map_err(|error| format!("Unable to stow task. Failed to parse job ID from job task id: {error}"))?;
    let queue = message.to.clone().filter(|to| !to.is_empty());
    let queue = queue.ok_or("Unable to stow task. It names no queue to go back to.")?;
    Ok(StowedMessage { job: id.job, queue, body: delivery.body.clone(), headers: delivery.headers.clone() })
}

fn answer(delivery: &Delivery, reason: &str, queue: &str) -> Publication {
    let Ok(mut message) = TaskMessage::decode(&delivery.body) else {
        return set_aside(delivery, queue, reason);
    };
    message.version = MESSAGE_VERSION;
    message.task_classifier = Some("TaskStowingBulkWorker".to_owned());
    message.task_api_version = 1;
    message.task_data = Some(Bytes::from(serde_json::json!(reason).to_string()));
    message.task_status = Some(TaskStatus::ResultFailure);
    message.to = Some(queue.to_owned());
    Publication::new(queue, message.encode())
}
