//! Jobs as this process last wrote them, so that the next batch about them reads nothing.
//!
//! What is kept is committed and may be old: somebody else may have changed or removed the job since. So it is only believed
//! where a write finds that the job's row is still the version that was kept. Whoever takes a job has it alone, and what is
//! not given back is forgotten: whatever goes wrong, the next batch reads.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job_core::{Clock, ClockExt as _, JobKey, Timestamp};
use lru::LruCache;
use tokio::sync::MutexGuard;

use super::{Hope, LoadedJob};

/// A job is forgotten when it has not been used for so long: the longer, the likelier that it was changed elsewhere.
const UNUSED_MAX: Duration = Duration::from_secs(60);
/// No job takes more than this part of the memory.
const JOBS_MIN: usize = 4;

/// How many jobs can have turns of their own; others share.
const TURNS: usize = 1_024;
/// So long somebody waits for its turn, and then goes on without.
const TURN_WAIT_MAX: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct RecentJobs {
    kept: Mutex<Kept<LoadedJob>>,
    turns: Box<[tokio::sync::Mutex<()>]>,
    hasher: RandomState,
    /// Of several trackers that share their jobs, none finds many as it left them.
    hope: Hope,
}

impl RecentJobs {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            kept: Mutex::new(Kept::new(bytes_max)),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
            hasher: RandomState::new(),
            hope: Hope::default(),
        }
    }

    /// Waits until no other batch of this process is about this job alone: each then finds it as the one before has left it,
    /// and none holds a connection while it waits. Lasts until it is dropped.
    pub(super) async fn turn(&self, key: &JobKey, clock: &dyn Clock) -> Option<MutexGuard<'_, ()>> {
        let place = self.hasher.hash_one(key) as usize % TURNS;
        clock.timeout(TURN_WAIT_MAX, self.turns[place].lock()).await.ok()
    }

    /// Those that are there, as they were last written.
    pub(super) fn take<'k>(
        &self,
        keys: impl Iterator<Item = &'k JobKey>,
        now: Timestamp,
    ) -> HashMap<JobKey, LoadedJob> {
        let taken = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take(keys, now);
        // Whether to hope is asked only when there is something to hope for.
        if taken.is_empty() || self.hope.is_there() { taken } else { HashMap::new() }
    }

    pub(crate) fn keep(&self, jobs: Vec<LoadedJob>, now: Timestamp) {
        let jobs: Vec<_> = jobs
            .into_iter()
            .map(|job| (job.row.key.clone(), job.bytes(), LoadedJob { is_recalled: true, ..job }))
            .collect();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).keep(jobs, now);
    }

    pub(super) fn were_right(&self) {
        self.hope.was_right();
    }

    pub(super) fn were_wrong(&self) {
        self.hope.was_wrong();
    }
}

#[derive(Debug)]
struct Kept<J> {
    entries: LruCache<JobKey, Entry<J>>,
    bytes: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Entry<J> {
    job: J,
    bytes: usize,
    last_used: Timestamp,
}

impl<J> Kept<J> {
    fn new(bytes_max: usize) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bytes_max }
    }

    fn take<'k>(&mut self, keys: impl Iterator<Item = &'k JobKey>, now: Timestamp) -> HashMap<JobKey, J> {
        let mut taken = HashMap::new();
        for key in keys {
            let Some((key, entry)) = self.entries.pop_entry(key) else { continue };
            self.bytes -= entry.bytes;
            if now.since(entry.last_used) <= UNUSED_MAX {
                taken.insert(key, entry.job);
            }
        }
        taken
    }

    /// All of them, or none where they are more than there is room for: by the time they come again the first would be gone.
    fn keep(&mut self, mut jobs: Vec<(JobKey, usize, J)>, now: Timestamp) {
        jobs.retain(|(_, bytes, _)| *bytes <= self.bytes_max / JOBS_MIN);
        if jobs.iter().map(|(_, bytes, _)| bytes).sum::<usize>() > self.bytes_max {
            return;
        }
        for (key, bytes, job) in jobs {
            self.bytes += bytes;
            let replaced = self.entries.put(key, Entry { job, bytes, last_used: now });
            self.bytes -= replaced.map_or(0, |entry| entry.bytes);
        }
        while let Some((_, oldest)) = self.entries.peek_lru()
            && (self.bytes > self.bytes_max || now.since(oldest.last_used) > UNUSED_MAX)
        {
            self.bytes -= oldest.bytes;
            self.entries.pop_lru();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 100;

    fn key(name: &str) -> JobKey {
        JobKey::new("p".parse().unwrap(), name.parse().unwrap())
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn keep(kept: &mut Kept<()>, seconds: i64, jobs: &[(&str, usize)]) {
        kept.keep(jobs.iter().map(|(name, bytes)| (key(name), *bytes, ())).collect(), at(seconds));
    }

    fn names(kept: &Kept<()>) -> Vec<&str> {
        let mut names: Vec<&str> = kept.entries.iter().map(|(key, _)| key.job.as_str()).collect();
        names.sort_unstable();
        assert_eq!(kept.bytes, kept.entries.iter().map(|(_, entry)| entry.bytes).sum::<usize>());
        names
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let mut kept = Kept::new(BYTES_MAX);
        keep(&mut kept, 0, &[("a", 25), ("b", 25), ("c", 25), ("d", 25)]);
        let taken = kept.take([&key("a"), &key("e")].into_iter(), at(0));
        assert_eq!((taken.len(), names(&kept)), (1, vec!["b", "c", "d"]));
        keep(&mut kept, 0, &[("a", 25), ("e", 10)]);
        assert_eq!(names(&kept), ["a", "c", "d", "e"]);
        // One that was read and written by two calls at the same time.
        keep(&mut kept, 0, &[("a", 20)]);
        assert_eq!(names(&kept), ["a", "c", "d", "e"]);
    }

    #[test]
    fn what_would_leave_no_room_for_others_is_not_kept() {
        let mut kept = Kept::new(BYTES_MAX);
        keep(&mut kept, 0, &[("a", 26), ("b", 1)]);
        assert_eq!(names(&kept), ["b"]);
        keep(&mut kept, 0, &[("c", 25), ("d", 25), ("e", 25), ("f", 25), ("g", 1)]);
        assert_eq!(names(&kept), ["b"]);
        let mut nothing = Kept::new(0);
        keep(&mut nothing, 0, &[("a", 1)]);
        assert!(names(&nothing).is_empty());
    }

    #[test]
    fn what_has_not_been_used_for_long_is_forgotten() {
        let mut kept = Kept::new(BYTES_MAX);
        keep(&mut kept, 0, &[("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(kept.take([&key("a")].into_iter(), at(60)).len(), 1);
        assert_eq!(kept.take([&key("b")].into_iter(), at(61)).len(), 0);
        keep(&mut kept, 61, &[("d", 1)]);
        assert_eq!(names(&kept), ["d"]);
    }
}
