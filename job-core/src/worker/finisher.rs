//! The end of every task: its last messages are published, and only when they are confirmed is its delivery settled.
//!
//! Tasks that end while a batch is on its way form the next batch, so that the cost of a confirmation and of an
//! acknowledgement is shared by as many tasks as the load brings together.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::report;
use super::responses::Entry;
use crate::backoff::Backoff;
use crate::clock::{Clock, IdSource};
use crate::message::{TrackingReport, TrackingReportTask};
use crate::queue::{Delivery, Publication, PublishOutcome, Settlement, TaskQueue};
use crate::shutdown::Shutdown;

/// The most tasks of one batch.
const BATCH_MAX: usize = 1_000;
/// The most entries of one report message.
const ENTRIES_MAX: usize = 200;
/// How often a task's last messages are tried before its delivery is handed back.
const ATTEMPTS_MAX: u32 = 8;

/// A task that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) delivery: Delivery,
    /// To be published before it is settled, in order.
    pub(super) publications: Vec<Publication>,
    /// To be reported before it is settled, together with those of other tasks.
    pub(super) entry: Option<Entry>,
    pub(super) settlement: Settlement,
}

/// Gathers and completes [`Finished`] tasks.
#[derive(Debug)]
pub(super) struct Finisher {
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    waiting: Mutex<Vec<Finished>>,
    arrived: Notify,
    closed: AtomicBool,
}

impl Finisher {
    pub(super) fn new(queue: Arc<dyn TaskQueue>, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        let (waiting, arrived, closed) = (Mutex::default(), Notify::new(), AtomicBool::new(false));
        Self { queue, clock, ids, waiting, arrived, closed }
    }

    pub(super) fn finish(&self, finished: Finished) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(finished);
        self.arrived.notify_one();
    }

    /// What waits is still completed, then [`run`](Self::run) returns.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.arrived.notify_one();
    }

    /// Completes tasks until closed. Several may run at once; `retries` owns what has to be tried again, until `abort`
    /// stops.
    pub(super) async fn run(self: Arc<Self>, retries: Shutdown, abort: Shutdown) {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                let left = self.complete(batch).await;
                if !left.is_empty() {
                    // One queue's trouble must not hold up the tasks that have nothing to do with it.
                    let (aborted, trying) = (abort.stopping(), Arc::clone(&self).try_again(left));
                    retries.spawn(async move {
                        tokio::select! {
                            () = aborted => {}
                            () = trying => {}
                        }
                    });
                }
            } else if self.closed.load(Ordering::SeqCst) {
                self.arrived.notify_one();
                return;
            } else {
                self.arrived.notified().await;
            }
        }
    }

    fn take(&self) -> Vec<Finished> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() <= BATCH_MAX {
            return std::mem::take(&mut *waiting);
        }
        let rest = waiting.split_off(BATCH_MAX);
        // Another runner may be idle.
        self.arrived.notify_one();
        std::mem::replace(&mut *waiting, rest)
    }

    async fn try_again(self: Arc<Self>, mut left: Vec<Finished>) {
        for failures in 0..ATTEMPTS_MAX {
            if self.closed.load(Ordering::SeqCst) {
                break;
            }
            self.clock.sleep(Backoff::DISPATCH.wait(failures, left.len() as u64)).await;
            left = self.complete(left).await;
            if left.is_empty() {
                return;
            }
        }
        tracing::warn!(tasks = left.len(), "tasks whose messages could not be published are handed back");
        settle(left.into_iter().map(|finished| finished.delivery).collect(), Settlement::Requeue).await;
    }

    /// Returns the tasks of which something is not confirmed, with what that is.
    async fn complete(&self, mut batch: Vec<Finished>) -> Vec<Finished> {
        let mut publications = Vec::new();
        let groups = group(&mut batch);
        for group in &groups {
            publications.push(report::publication(
                &group.reports,
                &group.pipe,
                group.correlation_id.as_deref(),
                self.ids.as_ref(),
            ));
        }
        let mut owners = Vec::new();
        for (owner, finished) in batch.iter().enumerate() {
            owners.resize(owners.len() + finished.publications.len(), owner);
            publications.extend(finished.publications.iter().cloned());
        }
        if !publications.is_empty() {
            let confirmed = self.publish(publications).await;
            let (of_groups, of_tasks) = confirmed.split_at(groups.len());
            for (group, confirmed) in groups.into_iter().zip(of_groups) {
                if !confirmed {
                    group.give_back(&mut batch);
                }
            }
            let mut of_tasks = of_tasks.iter();
            for finished in &mut batch {
                finished.publications.retain(|_| !of_tasks.next().is_some_and(|confirmed| *confirmed));
            }
        }
        let mut left = Vec::new();
        let mut settled = [const { Vec::new() }; 3];
        for finished in batch {
            if finished.entry.is_some() || !finished.publications.is_empty() {
                left.push(finished);
            } else {
                settled[finished.settlement as usize].push(finished.delivery);
            }
        }
        for (deliveries, settlement) in
            settled.into_iter().zip([Settlement::Ack, Settlement::Requeue, Settlement::Reject])
        {
            settle(deliveries, settlement).await;
        }
        left
    }

    async fn publish(&self, publications: Vec<Publication>) -> Vec<bool> {
        let count = publications.len();
        match self.queue.publish(publications).await {
            Ok(outcomes) => outcomes
                .into_iter()
                .map(|outcome| match outcome {
                    PublishOutcome::Confirmed => true,
                    PublishOutcome::Unroutable => {
                        tracing::warn!("a queue to publish to does not exist");
                        false
                    }
                    PublishOutcome::Refused { reason } => {
                        tracing::debug!(reason, "a queue takes no more for the moment");
                        false
                    }
                })
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "messages could not be published");
                vec![false; count]
            }
        }
    }
}

/// Entries that travel in one message.
struct Group {
    pipe: String,
    correlation_id: Option<String>,
    owners: Vec<usize>,
    reports: TrackingReportTask,
}

impl Group {
    fn give_back(self, batch: &mut [Finished]) {
        for (owner, report) in self.owners.into_iter().zip(self.reports.tracking_reports) {
            let (pipe, correlation_id) = (self.pipe.clone(), self.correlation_id.clone());
            batch[owner].entry = Some(Entry { pipe, correlation_id, report });
        }
    }
}

fn group(batch: &mut [Finished]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut open: HashMap<(String, Option<String>), usize> = HashMap::new();
    let mut last: Option<usize> = None;
    for (owner, finished) in batch.iter_mut().enumerate() {
        let Some(Entry { pipe, correlation_id, report }) = finished.entry.take() else { continue };
        let fits = |index: usize, groups: &[Group]| {
            let group: &Group = &groups[index];
            group.owners.len() < ENTRIES_MAX && group.pipe == pipe && group.correlation_id == correlation_id
        };
        // Neighbours mostly belong together.
        let index = match last.filter(|index| fits(*index, &groups)) {
            Some(index) => index,
            None => {
                let key = (pipe, correlation_id);
                match open.get(&key).copied().filter(|index| groups[*index].owners.len() < ENTRIES_MAX) {
                    Some(index) => index,
                    None => {
                        let reports = TrackingReportTask { tracking_reports: Vec::<TrackingReport>::new() };
                        let (pipe, correlation_id) = key.clone();
                        groups.push(Group { pipe, correlation_id, owners: Vec::new(), reports });
                        open.insert(key, groups.len() - 1);
                        groups.len() - 1
                    }
                }
            }
        };
        last = Some(index);
        groups[index].owners.push(owner);
        groups[index].reports.tracking_reports.push(report);
    }
    groups
}

async fn settle(deliveries: Vec<Delivery>, settlement: Settlement) {
    if deliveries.is_empty() {
        return;
    }
    if let Err(error) = Delivery::settle_all(deliveries, settlement).await {
        // They are delivered again; what they send then has the same ids.
        tracing::warn!(%error, "deliveries could not be settled");
    }
}
