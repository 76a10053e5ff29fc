//! All the store holds, and the steps that several calls share.

use std::collections::BTreeMap;

use job_core::{Job, JobId, JobKey, PartitionId};

use crate::outbox::Outbox;
use crate::partition::Partition;
use crate::stored_job::StoredJob;

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) partitions: BTreeMap<PartitionId, Partition>,
    pub(crate) outbox: Outbox,
}

impl State {
    pub(crate) fn job(&self, key: &JobKey) -> Option<&StoredJob> {
        self.partitions.get(&key.partition)?.job(&key.job)
    }

    pub(crate) fn read(&self, key: &JobKey) -> Option<Job> {
        self.read_in(self.partitions.get(&key.partition)?, &key.job)
    }

    /// The job as it is read back, with what its entries in the outbox say.
    pub(crate) fn read_in(&self, partition: &Partition, id: &JobId) -> Option<Job> {
        let mut job = partition.read(id)?;
        let mut entries = partition.job(id)?.entries.iter();
        job.suspended = entries.any(|entry| self.outbox.is_suspended(*entry));
        Some(job)
    }

    /// Removes a job and everything about it; jobs that wait for it go on waiting. Returns whether there was one.
    pub(crate) fn remove(&mut self, key: &JobKey) -> bool {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return false };
        let Some(job) = partition.remove(&key.job) else { return false };
        if partition.is_empty() {
            self.partitions.remove(&key.partition);
        }
        for entry in job.entries {
            self.outbox.remove(entry);
        }
        self.outbox.forget_start(job.start_entry);
        true
    }

    /// Makes what belongs to a job follow its status, after that has changed.
    pub(crate) fn follow_status(&mut self, key: &JobKey) {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return };
        let Some(job) = partition.job_mut(&key.job) else { return };
        let status = job.shown.status;
        if !status.keeps_progress() {
            (job.tree, job.first_message) = (None, None);
        }
        if status.is_finished() {
            job.problems.clear();
            for entry in std::mem::take(&mut job.entries) {
                self.outbox.remove(entry);
            }
            partition.wait_for_nobody(&key.job);
        } else {
            for entry in &job.entries {
                self.outbox.hold(*entry, status.holds_messages());
            }
        }
    }
}
