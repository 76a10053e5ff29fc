//! From the tracking queue to the store: the consumer of worker reports.
//!
//! A batch of deliveries becomes one recorded step. What has to be sent on is published with confirms, and only then is
//! anything acked: a crash anywhere means redelivery, and recording the same report twice changes nothing.

mod batch;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::Backoff;
use crate::clock::{Clock, Stopwatch};
use crate::error::Result;
use crate::gather::{BatchLimits, next_batch};
use crate::lifecycle::JobStatus;
use crate::queue::{ConsumeOptions, Consumer, Delivery, PublishOutcome, Settlement, TaskQueue};
use crate::recording::RecordOutcome;
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::store::{JobStore, Recorded, TaskReport};
use crate::telemetry;
use crate::telemetry::RefusalReason;
use batch::{Batch, Item};

/// How often a batch is tried on a store that cannot be reached before its deliveries are handed back.
const ATTEMPTS_MAX: u32 = 8;

/// How a tracker works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackerSettings {
    /// The queue of reports.
    pub queue: String,
    /// Where reports that make no sense are answered.
    pub error_queue: String,
    /// Where messages that cannot be read are put.
    pub reject_queue: String,
    /// When a batch closes.
    pub batch: BatchLimits,
    /// How many deliveries may be in hand; at least the batch size, so that the next batch gathers meanwhile.
    pub prefetch: u16,
}

impl TrackerSettings {
    /// For the reports on `queue`, with the names the CAF tracking worker uses for the others.
    #[must_use]
    pub fn new(queue: impl Into<String>) -> Self {
        let queue = queue.into();
        Self {
            error_queue: format!("{queue}-err"),
            reject_queue: format!("{queue}-reject"),
            queue,
            batch: BatchLimits {
                size: 1_000,
                idle: Duration::from_millis(5),
                time_max: Duration::from_millis(50),
            },
            prefetch: 2_000,
        }
    }
}

/// Counts of what a tracker has done, for metrics and tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackerCounts {
    /// Deliveries settled.
    pub deliveries: u64,
    /// Reports that changed a job.
    pub counted: u64,
    /// Reports that said nothing new.
    pub duplicates: u64,
    /// Reports about jobs that are unknown or finished.
    pub ignored: u64,
    /// Messages and entries set aside.
    pub refused: u64,
}

/// Records what workers report.
#[derive(Debug)]
pub struct Tracker {
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
    signals: Signals,
    settings: TrackerSettings,
    counts: tokio::sync::watch::Sender<TrackerCounts>,
}

impl Tracker {
    /// Wakes the dispatcher and whoever waits for jobs through `signals`.
    #[must_use]
    pub fn new(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        clock: Arc<dyn Clock>,
        signals: Signals,
        settings: TrackerSettings,
    ) -> Self {
        Self { store, queue, clock, signals, settings, counts: tokio::sync::watch::Sender::default() }
    }

    /// What has been done so far; changes with every batch.
    #[must_use]
    pub fn counts(&self) -> tokio::sync::watch::Receiver<TrackerCounts> {
        self.counts.subscribe()
    }

    /// Works until stopping is asked for; then finishes the batch in hand and returns.
    pub async fn run(self, shutdown: Shutdown) {
        let mut failures = 0;
        while !shutdown.is_stopping() {
            let options = ConsumeOptions { prefetch: self.settings.prefetch };
            match self.queue.consume(&self.settings.queue, options).await {
                Ok(consumer) => {
                    failures = 0;
                    self.consume(consumer, &shutdown).await;
                }
                Err(error) => {
                    tracing::warn!(%error, queue.name = self.settings.queue, "the tracking queue cannot be consumed")
                }
            }
            let wait = Backoff::RECONNECT.wait(failures, 0);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = shutdown.stopping() => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    async fn consume(&self, mut consumer: Consumer, shutdown: &Shutdown) {
        while let Some(batch) =
            next_batch(&mut consumer, &self.settings.batch, self.clock.as_ref(), shutdown).await
        {
            self.process(batch).await;
        }
    }

    #[tracing::instrument(level = "debug", name = "track", skip_all, fields(deliveries = deliveries.len()))]
    async fn process(&self, deliveries: Vec<Delivery>) {
        let watch = Stopwatch::start();
        let now = self.clock.now();
        let mut batch = Batch::read(deliveries, &self.settings, now);
        self.drop_passing_of_dead_jobs(&mut batch.items).await;
        self.record(&mut batch).await;
        self.send_on(&mut batch.items).await;
        self.count(&batch.items);
        let (done, undone): (Vec<Item>, Vec<Item>) = batch.items.into_iter().partition(|item| !item.again);
        let (deliveries, handed_back) = (done.len() + undone.len(), undone.len());
        settle(done, Settlement::Ack).await;
        settle(undone, Settlement::Requeue).await;
        telemetry::tracked(deliveries, handed_back, watch.elapsed());
    }

    /// A message that only passes by and whose job was cancelled or deleted is of no more use to anybody.
    async fn drop_passing_of_dead_jobs(&self, items: &mut [Item]) {
        let passing: Vec<&mut Item> = items.iter_mut().filter(|item| item.passing_of.is_some()).collect();
        if passing.is_empty() {
            return;
        }
        let keys: Vec<_> = passing.iter().filter_map(|item| item.passing_of.clone()).collect();
        // When the store does not answer the message is sent on: its worker asks again.
        let Ok(statuses) = self.store.statuses(&keys).await else { return };
        for (item, status) in passing.into_iter().zip(statuses) {
            if status.is_none_or(JobStatus::drops_messages) {
                item.to_send.clear();
            }
        }
    }

    /// Records all reports in one step. When the store refuses the step for good, halves find the reports that it
    /// refuses, and the others are recorded.
    async fn record(&self, batch: &mut Batch) {
        let whole: Range<usize> = 0..batch.reports.len();
        let mut parts = vec![whole];
        while let Some(part) = parts.pop() {
            let reports = &batch.reports[part.clone()];
            if reports.is_empty() {
                continue;
            }
            match self.record_with_retries(reports).await {
                Ok(recorded) => {
                    self.tell(&recorded);
                    self.refuse_damaged(batch, part.start, &recorded);
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, reports = part.len(), "reports could not be recorded and are handed back");
                    batch.items_of(part).for_each(|item| item.again = true);
                }
                Err(error) if part.len() == 1 => {
                    tracing::error!(%error, "the store refuses a report");
                    let message = error.message().to_owned();
                    batch.items_of(part).for_each(|item| item.refuse(&message, &self.settings));
                    telemetry::refused(RefusalReason::Store);
                }
                Err(_) => {
                    let middle = part.start + part.len() / 2;
                    parts.extend([middle..part.end, part.start..middle]);
                }
            }
        }
    }

    /// Reports about jobs that the store cannot read are answered like those that make no sense themselves.
    fn refuse_damaged(&self, batch: &mut Batch, first: usize, recorded: &Recorded) {
        if recorded.damaged.is_empty() {
            return;
        }
        for (place, outcome) in recorded.outcomes.iter().enumerate() {
            let place = first + place;
            let job = &batch.reports[place].job;
            let reason = recorded.damaged.iter().find(|(damaged, _)| damaged == job);
            if let (RecordOutcome::DamagedJob, Some((_, reason))) = (outcome, reason) {
                batch.items_of(place..place + 1).for_each(|item| item.refuse(reason, &self.settings));
                telemetry::refused(RefusalReason::Store);
            }
        }
    }

    async fn record_with_retries(&self, reports: &[TaskReport]) -> Result<Recorded> {
        let mut failures = 0;
        loop {
            match self.store.record(reports, self.clock.now()).await {
                Err(error) if error.is_transient() && failures + 1 < ATTEMPTS_MAX => {
                    self.clock.sleep(Backoff::RECONNECT.wait(failures, reports.len() as u64)).await;
                    failures += 1;
                }
                result => return result,
            }
        }
    }

    fn tell(&self, recorded: &Recorded) {
        telemetry::recorded(recorded);
        if recorded.released_due.is_some() {
            self.signals.wake_dispatcher();
        }
        recorded.completed.iter().chain(&recorded.failed).for_each(|job| self.signals.job_finished(job));
        for (job, anomaly) in &recorded.anomalies {
            tracing::warn!(job.partition = %job.partition, job.id = %job.job, ?anomaly, "a worker reported something odd");
        }
        self.counts.send_modify(|counts| {
            for outcome in &recorded.outcomes {
                match outcome {
                    RecordOutcome::Counted => counts.counted += 1,
                    RecordOutcome::Duplicate => counts.duplicates += 1,
                    RecordOutcome::UnknownJob | RecordOutcome::FinishedJob => counts.ignored += 1,
                    // Counted with the refusals.
                    RecordOutcome::DamagedJob => {}
                }
            }
        });
    }

    fn count(&self, items: &[Item]) {
        self.counts.send_modify(|counts| {
            counts.deliveries += items.iter().filter(|item| !item.again).count() as u64;
            counts.refused += items.iter().filter(|item| !item.again).map(|item| item.refusals).sum::<u64>();
        });
    }

    /// Publishes what follows from the items whose reports are recorded; unless all of it is confirmed the delivery comes
    /// again.
    async fn send_on(&self, items: &mut [Item]) {
        let mut owners = Vec::new();
        let mut publications = Vec::new();
        for (owner, item) in items.iter_mut().enumerate().filter(|(_, item)| !item.again) {
            for publication in item.to_send.drain(..) {
                owners.push(owner);
                publications.push(publication);
            }
        }
        if publications.is_empty() {
            return;
        }
        match self.queue.publish(publications).await {
            Ok(outcomes) => {
                for (owner, outcome) in owners.into_iter().zip(outcomes) {
                    if outcome != PublishOutcome::Confirmed {
                        tracing::warn!(?outcome, "a message on the tracking queue could not be sent on");
                        items[owner].again = true;
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "messages on the tracking queue could not be sent on");
                owners.into_iter().for_each(|owner| items[owner].again = true);
            }
        }
    }
}

async fn settle(items: Vec<Item>, settlement: Settlement) {
    let deliveries: Vec<Delivery> = items.into_iter().map(|item| item.delivery).collect();
    if let Err(error) = Delivery::settle_all(deliveries, settlement).await {
        // They come again, and their reports change nothing the second time.
        tracing::warn!(%error, "deliveries could not be settled");
    }
}
