//! The store's side of publishing: what became of claimed entries, and messages that are to be kept.

use job_core::store::{LeaseOwner, OutboxContent, Settled, StowOutcome, StowedMessage};
use job_core::{DispatchProblem, JobKey, Timestamp};

use crate::outbox::NewEntry;
use crate::state::State;
use crate::stored_job::StoredJob;

impl State {
    /// Returns whether `owner` had the entry on lease.
    pub(crate) fn settle(&mut self, owner: LeaseOwner, id: u64, settled: Settled, now: Timestamp) -> bool {
        let leased = self.outbox.leased_to(id, owner).cloned();
        match settled {
            Settled::Published => {
                if let Some(key) = self.outbox.take_start(id) {
                    self.mark_dispatched(&key, now);
                }
                if let Some(key) = &leased {
                    self.outbox.remove(id);
                    if let Some(job) = self.job_mut(key) {
                        job.entries.remove(&id);
                        job.problems.remove(&id);
                    }
                }
            }
            Settled::Failed { retry_at, reason } => {
                if let Some(key) = &leased {
                    let attempts = self.outbox.retry(id, retry_at);
                    if let Some(job) = self.job_mut(key) {
                        job.problems.insert(id, DispatchProblem { attempts, reason, retry_at });
                    }
                }
            }
        }
        leased.is_some()
    }

    fn mark_dispatched(&mut self, key: &JobKey, now: Timestamp) {
        if let Some(partition) = self.partitions.get_mut(&key.partition) {
            partition.change(&key.job, |_, state| {
                state.start_time.get_or_insert(now);
            });
        }
    }

    fn job_mut(&mut self, key: &JobKey) -> Option<&mut StoredJob> {
        self.partitions.get_mut(&key.partition)?.job_mut(&key.job)
    }

    pub(crate) fn stow(&mut self, message: StowedMessage, now: Timestamp) -> StowOutcome {
        let StowedMessage { job: key, queue, body, headers } = message;
        let live = self.job(&key).map(|job| job.shown.status).filter(|status| !status.is_finished());
        let Some(status) = live else { return StowOutcome::Dropped };
        let entry = self.outbox.add(NewEntry {
            job: key.clone(),
            content: OutboxContent::Stowed { queue, body, headers },
            due: Some(now),
            held: status.holds_messages(),
            suspended: false,
        });
        if let Some(job) = self.job_mut(&key) {
            job.entries.insert(entry);
        }
        StowOutcome::Stowed
    }
}
