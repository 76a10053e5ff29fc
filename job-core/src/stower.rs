//! Takes the messages of paused jobs off the queue and keeps them in the store until their jobs are resumed.
//!
//! Workers put such messages on the paused queue. Whether the job is still paused is the store's answer, never the
//! message's clock: what arrives after a resume becomes due at once, so that nothing stays behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::error::ErrorKind;
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

/// Counts of what a stower has done, for metrics and tests.
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
        let (mut fates, mut messages, mut places) = (Vec::with_capacity(batch.len()), vec![], vec![]);
        for (place, delivery) in batch.iter().enumerate() {
            fates.push(match stowable(delivery) {
                Ok(message) => {
                    messages.push(message);
                    places.push(place);
                    Fate::Again
                }
                Err(reason) => Fate::Refused(reason),
            });
        }
        for (place, fate) in places.into_iter().zip(self.keep(&messages).await) {
            fates[place] = fate;
        }
        self.answer(&batch, &mut fates).await;
        let mut counts = StowerCounts::default();
        let (mut done, mut undone) = (vec![], vec![]);
        for (delivery, fate) in batch.into_iter().zip(fates) {
            match fate {
                Fate::Kept => counts.kept += 1,
                Fate::Dropped => counts.dropped += 1,
                Fate::Refused(_) => counts.refused += 1,
                Fate::Again => {
                    undone.push(delivery);
                    continue;
                }
            }
            done.push(delivery);
        }
        let is_done = undone.is_empty();
        settle(done, Settlement::Ack).await;
        settle(undone, Settlement::Requeue).await;
        telemetry::stowed(counts);
        self.counts.send_modify(|all| {
            all.kept += counts.kept;
            all.dropped += counts.dropped;
            all.refused += counts.refused;
        });
        is_done
    }

    /// Keeps all messages in one step; one fate each. When the store refuses the step for good, halves find the messages
    /// that it refuses, and the others are kept.
    async fn keep(&self, messages: &[StowedMessage]) -> Vec<Fate> {
        let mut fates = Vec::with_capacity(messages.len());
        let mut parts = vec![messages];
        while let Some(part) = parts.pop() {
            if part.is_empty() {
                continue;
            }
            match self.store.stow(part.to_vec(), self.clock.now()).await {
                Ok(outcomes) => {
                    self.signals.wake_dispatcher();
                    fates.extend(outcomes.into_iter().map(Fate::from));
                }
                // A store that lets nobody in has said nothing about these messages.
                Err(error) if error.is_transient() || error.kind() == ErrorKind::Unavailable => {
                    tracing::warn!(%error, messages = part.len(), "messages of paused jobs could not be stowed and are handed back");
                    fates.resize(fates.len() + part.len(), Fate::Again);
                }
                Err(error) if part.len() == 1 => fates.push(Fate::Refused(not_kept(error.message()))),
                Err(_) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
            }
        }
        fates
    }

    /// Tells the error queue why messages are refused; one for which that does not work out comes again.
    async fn answer(&self, batch: &[Delivery], fates: &mut [Fate]) {
        let (mut refused, mut answers) = (vec![], vec![]);
        for (delivery, fate) in batch.iter().zip(fates) {
            if let Fate::Refused(reason) = &*fate {
                tracing::warn!(queue.name = self.settings.queue, reason, "a message cannot be stowed");
                answers.push(answer(delivery, reason, &self.settings.error_queue));
                refused.push(fate);
            }
        }
        if answers.is_empty() {
            return;
        }
        match self.queue.publish(answers).await {
            Ok(outcomes) => {
                for (fate, outcome) in refused.into_iter().zip(outcomes) {
                    if outcome != PublishOutcome::Confirmed {
                        tracing::warn!(
                            ?outcome,
                            "the answer to a message that cannot be stowed was not taken"
                        );
                        *fate = Fate::Again;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "messages that cannot be stowed could not be answered");
                refused.into_iter().for_each(|fate| *fate = Fate::Again);
            }
        }
    }
}

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Kept,
    Dropped,
    /// It is answered with the reason.
    Refused(String),
    /// It could not be dealt with, and is handed back.
    Again,
}

impl From<StowOutcome> for Fate {
    fn from(outcome: StowOutcome) -> Self {
        match outcome {
            StowOutcome::Stowed => Self::Kept,
            StowOutcome::Dropped => Self::Dropped,
            StowOutcome::Damaged(reason) => Self::Refused(not_kept(&reason)),
        }
    }
}

/// Messaging contract §6.2.
fn not_kept(reason: &str) -> String {
    format!("Unable to stow task(s). Failed to write to database. {reason}")
}

async fn settle(deliveries: Vec<Delivery>, settlement: Settlement) {
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
