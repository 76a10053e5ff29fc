//! Whose messages this process has on lease, so that settling them need not look for their jobs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use job_core::JobKey;
use job_core::store::{OutboxContent, OutboxEntry, Settled};

/// More than dispatchers have in their hands. Entries are left over where a lease ended without having been settled.
const ENTRIES_MAX: usize = 20_000;

/// The jobs of entries that were claimed and not settled yet, if an entry is a job's first message. Those that are not known
/// here are found in the database.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<u64, Option<JobKey>>>);

impl Leases {
    pub(crate) fn add(&self, entries: &[OutboxEntry]) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.len() + entries.len() > ENTRIES_MAX {
            jobs.clear();
        }
        jobs.extend(entries.iter().map(|entry| {
            let is_first = matches!(entry.content, OutboxContent::Start { .. });
            (entry.id, is_first.then(|| entry.job.clone()))
        }));
    }

    /// Those of the entries that are known.
    pub(crate) fn take(&self, entries: &[(u64, Settled)]) -> HashMap<u64, Option<JobKey>> {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter_map(|(id, _)| jobs.remove_entry(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use job_core::TaskSpec;
    use uuid::Uuid;

    use super::*;

    fn key(id: u64) -> JobKey {
        JobKey::parse("p", format!("j{id}")).unwrap()
    }

    fn first(id: u64) -> OutboxEntry {
        let (classifier, queue) = ("Worker".into(), "in".into());
        let task = TaskSpec { classifier, api_version: 1, data: Bytes::new(), queue, target: None };
        let content = OutboxContent::Start { task_id: Uuid::nil(), task, correlation_id: None };
        OutboxEntry { id, job: key(id), content, attempts: 0 }
    }

    fn kept(id: u64) -> OutboxEntry {
        let (queue, headers) = ("in".into(), Default::default());
        OutboxEntry { content: OutboxContent::Stowed { queue, body: Bytes::new(), headers }, ..first(id) }
    }

    #[test]
    fn a_lease_is_known_once_and_no_more_than_there_may_be() {
        let leases = Leases::default();
        leases.add(&[first(1), kept(2), first(3)]);
        let settled = [1, 2, 4].map(|id| (id, Settled::Published));
        assert_eq!(leases.take(&settled), HashMap::from([(1, Some(key(1))), (2, None)]));
        assert_eq!(leases.take(&settled), HashMap::new());
        leases.add(&(10..10 + ENTRIES_MAX as u64).map(first).collect::<Vec<_>>());
        assert_eq!(leases.0.lock().unwrap().len(), ENTRIES_MAX);
        assert_eq!(leases.take(&[(3, Settled::Published)]), HashMap::new());
    }
}
