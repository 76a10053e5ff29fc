//! Messages that are to be published, the order in which they are, and who is at it.
//!
//! An entry that may be published, now or at a time to come, is in one of two places: `waiting`, by that time, or
//! `ready`, by the turn of its partition. [`Outbox::claim`] moves what has become ready. Entries that are held, or whose
//! prerequisites are unmet, are in neither, however many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use job_core::store::{
    ClaimRequest, Claimed, LeaseOwner, OVERVIEW_ENTRIES_MAX, OutboxContent, OutboxEntry, Overview, Suspension,
};
use job_core::{JobKey, PartitionId, Timestamp};

#[derive(Debug)]
pub(crate) struct NewEntry {
    pub(crate) job: JobKey,
    pub(crate) content: OutboxContent,
    /// `None` while prerequisites are unmet.
    pub(crate) due: Option<Timestamp>,
    pub(crate) held: bool,
    pub(crate) suspended: bool,
}

#[derive(Debug)]
struct Lease {
    owner: LeaseOwner,
    until: Timestamp,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Nowhere,
    Waiting(Timestamp),
    Ready(Timestamp),
}

#[derive(Debug)]
struct Entry {
    job: JobKey,
    content: OutboxContent,
    due: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    attempts: u32,
    /// The job is paused.
    held: bool,
    /// The job was accepted as suspended.
    suspended: bool,
    /// Its partition is suspended.
    partition_suspended: bool,
    lease: Option<Lease>,
    place: Place,
}

impl Entry {
    /// From when on it may be taken; `None` when no time alone brings that about.
    fn available(&self) -> Option<Timestamp> {
        let due = self.due.filter(|_| !(self.held || self.suspended || self.partition_suspended))?;
        Some(self.lease.as_ref().map_or_else(|| due.max(self.retry_at.unwrap_or(due)), |lease| lease.until))
    }
}

/// What is stored of an entry, for checking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryFacts {
    pub(crate) job: JobKey,
    pub(crate) due: Option<Timestamp>,
    pub(crate) held: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    entries: HashMap<u64, Entry>,
    last: u64,
    /// Jobs whose first message has not been reported as published, by the entry that had it: the entry may be gone
    /// when the report arrives.
    starts: HashMap<u64, JobKey>,
    waiting: BTreeSet<(Timestamp, u64)>,
    /// Per partition, by due time; partitions without are left out.
    ready: BTreeMap<PartitionId, BTreeSet<(Timestamp, u64)>>,
    /// The same entries as in `ready`, whatever their partition.
    ready_by_due: BTreeSet<(Timestamp, u64)>,
    /// Whose turn was last.
    turn: Option<PartitionId>,
    /// Partitions that are suspended, whether they have entries or not.
    suspended: BTreeSet<PartitionId>,
}

impl Outbox {
    pub(crate) fn add(&mut self, new: NewEntry) -> u64 {
        self.last += 1;
        if matches!(new.content, OutboxContent::Start { .. }) {
            self.starts.insert(self.last, new.job.clone());
        }
        self.put(self.last, new);
        self.last
    }

    /// Puts an entry under an id that was its own before.
    pub(crate) fn put(&mut self, id: u64, new: NewEntry) {
        let NewEntry { job, content, due, held, suspended } = new;
        let partition_suspended = self.suspended.contains(&job.partition);
        self.entries.insert(
            id,
            Entry {
                job,
                content,
                due,
                retry_at: None,
                attempts: 0,
                held,
                suspended,
                partition_suspended,
                lease: None,
                place: Place::Nowhere,
            },
        );
        self.change(id, |_| {});
    }

    /// Removes an entry; a lease on it is void.
    pub(crate) fn remove(&mut self, id: u64) {
        self.displace(id);
        self.entries.remove(&id);
    }

    /// Holds an entry or lets it go.
    pub(crate) fn hold(&mut self, id: u64, held: bool) {
        self.change(id, |entry| entry.held = held);
    }

    /// Suspends a partition or resumes it, its entries with it.
    pub(crate) fn suspend(&mut self, partition: &PartitionId, suspension: Suspension) {
        let suspended = suspension == Suspension::Hold;
        if suspended {
            self.suspended.insert(partition.clone());
        } else {
            self.suspended.remove(partition);
        }
        let of_partition = |(_, entry): &(&u64, &Entry)| entry.job.partition == *partition;
        let ids: Vec<u64> = self.entries.iter().filter(of_partition).map(|(id, _)| *id).collect();
        for id in ids {
            self.change(id, |entry| {
                entry.partition_suspended = suspended;
                entry.suspended &= suspended;
            });
        }
    }

    /// Whether an entry waits for its partition to be resumed.
    pub(crate) fn is_suspended(&self, id: u64) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.suspended || entry.partition_suspended)
    }

    pub(crate) fn suspended_partitions(&self, after: Option<&PartitionId>, limit: u32) -> Vec<PartitionId> {
        let flagged = self.entries.values().filter(|entry| entry.suspended).map(|entry| &entry.job.partition);
        let all: BTreeSet<&PartitionId> = self.suspended.iter().chain(flagged).collect();
        let behind = all.into_iter().filter(|partition| after.is_none_or(|after| *partition > after));
        behind.take(limit as usize).cloned().collect()
    }

    /// Sets when an entry is due.
    pub(crate) fn set_due(&mut self, id: u64, due: Option<Timestamp>) {
        self.change(id, |entry| entry.due = due);
    }

    /// The job of an entry that `owner` has on lease.
    pub(crate) fn leased_to(&self, id: u64, owner: LeaseOwner) -> Option<&JobKey> {
        let entry = self.entries.get(&id)?;
        entry.lease.as_ref().filter(|lease| lease.owner == owner).map(|_| &entry.job)
    }

    /// Ends the lease on an entry that could not be published; returns how often that was tried.
    pub(crate) fn retry(&mut self, id: u64, at: Timestamp) -> u32 {
        self.change(id, |entry| {
            entry.attempts = entry.attempts.saturating_add(1);
            entry.retry_at = Some(at);
            entry.lease = None;
            entry.attempts
        })
        .unwrap_or_default()
    }

    /// The job whose first message this entry had or has, if nobody has reported it as published yet.
    pub(crate) fn take_start(&mut self, id: u64) -> Option<JobKey> {
        self.starts.remove(&id)
    }

    pub(crate) fn forget_start(&mut self, id: u64) {
        self.starts.remove(&id);
    }

    pub(crate) fn facts(&self, id: u64) -> Option<EntryFacts> {
        let entry = self.entries.get(&id)?;
        Some(EntryFacts { job: entry.job.clone(), due: entry.due, held: entry.held })
    }

    pub(crate) fn all_facts(&self) -> impl Iterator<Item = (u64, EntryFacts)> {
        self.entries.keys().filter_map(|id| Some((*id, self.facts(*id)?)))
    }

    /// What is due, on lease or not; what is held or waits for prerequisites is in neither place and costs nothing.
    pub(crate) fn overview(&self, now: Timestamp) -> Overview {
        let mut overview = Overview::default();
        for (_, id) in self.ready_by_due.iter().chain(&self.waiting).take(OVERVIEW_ENTRIES_MAX as usize) {
            let Some((due, attempts)) =
                self.entries.get(id).and_then(|entry| Some((entry.due?, entry.attempts)))
            else {
                continue;
            };
            if due <= now {
                overview.due += 1;
                overview.failing += u64::from(attempts > 0);
                overview.oldest_due = Some(overview.oldest_due.map_or(due, |oldest| oldest.min(due)));
            }
        }
        overview
    }

    pub(crate) fn claim(&mut self, request: &ClaimRequest) -> Claimed {
        let now = request.now;
        while let Some((_, id)) = self.waiting.first().copied().filter(|(at, _)| *at <= now) {
            self.make_ready(id);
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while taken.len() < request.limit.max(1) as usize && (taken.is_empty() || bytes < request.bytes_limit)
        {
            let Some(id) = self.next_ready(now) else { break };
            taken.push(id);
            bytes += self.entries.get(&id).map_or(0, |entry| entry.content.size());
        }
        let waiting = self.waiting.first().map(|(at, _)| *at);
        let ready = self.ready_by_due.first().map(|(due, _)| *due);
        let next_due = waiting.into_iter().chain(ready).min();
        let until = now.saturating_add(request.lease);
        let lease = |id| {
            self.change(id, |entry| {
                entry.lease = Some(Lease { owner: request.owner, until });
                OutboxEntry {
                    id,
                    job: entry.job.clone(),
                    content: entry.content.clone(),
                    attempts: entry.attempts,
                }
            })
        };
        Claimed { entries: taken.into_iter().filter_map(lease).collect(), next_due }
    }

    /// Takes the first entry of the partition whose turn it is out of its place.
    fn next_ready(&mut self, now: Timestamp) -> Option<u64> {
        loop {
            let behind = |turn| self.ready.range((Bound::Excluded(turn), Bound::Unbounded)).next();
            let next = self.turn.as_ref().and_then(behind).or_else(|| self.ready.first_key_value());
            let (partition, lane) = next?;
            let (_, id) = *lane.first()?;
            let available = self.entries.get(&id)?.available();
            if available.is_some_and(|at| at <= now) {
                self.turn = Some(partition.clone());
                self.displace(id);
                return Some(id);
            }
            // It was made ready by a caller whose clock is ahead of this one's.
            self.change(id, |_| {});
        }
    }

    /// Changes an entry and puts it where it then belongs.
    fn change<T>(&mut self, id: u64, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.displace(id);
        let entry = self.entries.get_mut(&id)?;
        let result = change(entry);
        if let Some(at) = entry.available() {
            entry.place = Place::Waiting(at);
            self.waiting.insert((at, id));
        }
        Some(result)
    }

    fn make_ready(&mut self, id: u64) {
        self.displace(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let Some(due) = entry.due else { return };
        entry.place = Place::Ready(due);
        self.ready.entry(entry.job.partition.clone()).or_default().insert((due, id));
        self.ready_by_due.insert((due, id));
    }

    fn displace(&mut self, id: u64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match std::mem::replace(&mut entry.place, Place::Nowhere) {
            Place::Nowhere => {}
            Place::Waiting(at) => {
                self.waiting.remove(&(at, id));
            }
            Place::Ready(due) => {
                self.ready_by_due.remove(&(due, id));
                if let Some(lane) = self.ready.get_mut(&entry.job.partition) {
                    lane.remove(&(due, id));
                    if lane.is_empty() {
                        self.ready.remove(&entry.job.partition);
                    }
                }
            }
        }
    }
}
