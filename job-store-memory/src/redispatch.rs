//! Putting first messages that were published back into the outbox.

use std::ops::Bound;

use job_core::store::{ActionOutcome, RedispatchStep};
use job_core::{JobKey, Timestamp, Transition};

use crate::outbox::NewEntry;
use crate::state::State;

impl State {
    pub(crate) fn redispatch(&mut self, key: &JobKey, now: Timestamp) -> ActionOutcome {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return ActionOutcome::NotFound };
        let Some(job) = partition.job_mut(&key.job) else { return ActionOutcome::NotFound };
        let in_outbox = job.entries.contains(&job.start_entry);
        match job.state().redispatch(in_outbox, job.first_message.is_some()) {
            Transition::Stay | Transition::To(_) => {}
            Transition::Ignore => return ActionOutcome::Unchanged,
            Transition::Refuse(refusal) => return ActionOutcome::Refused(refusal),
        }
        self.put_back(key, Some(now));
        ActionOutcome::Applied
    }

    /// Puts the first message of a job into the outbox again, if it is kept.
    pub(crate) fn put_back(&mut self, key: &JobKey, due: Option<Timestamp>) {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return };
        let Some(job) = partition.job_mut(&key.job) else { return };
        let Some(content) = job.first_message.clone() else { return };
        let held = job.shown.status.holds_messages();
        job.entries.insert(job.start_entry);
        let entry = NewEntry { job: key.clone(), content, due, held, suspended: false };
        self.outbox.put(job.start_entry, entry);
    }

    pub(crate) fn redispatch_unfinished(
        &mut self,
        after: Option<&JobKey>,
        limit: u32,
        now: Timestamp,
    ) -> RedispatchStep {
        let limit = limit.max(1) as usize;
        let from = after.map_or(Bound::Unbounded, |key| Bound::Included(&key.partition));
        let mut visited: Vec<JobKey> = self
            .partitions
            .range((from, Bound::Unbounded))
            .flat_map(|(id, jobs)| {
                jobs.by_id("", after.filter(|key| key.partition == *id).map(|key| &key.job))
            })
            .filter(|job| !job.shown.status.is_finished())
            .take(limit + 1)
            .map(|job| job.shown.key.clone())
            .collect();
        let is_last = visited.len() <= limit;
        visited.truncate(limit);
        let redispatched = visited.iter().filter(|key| self.redispatch(key, now) == ActionOutcome::Applied);
        let redispatched = redispatched.count() as u64;
        RedispatchStep { redispatched, next: if is_last { None } else { visited.pop() } }
    }
}
