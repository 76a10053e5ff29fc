//! The limit on the live jobs of a partition: those whose status is not [finished](crate::JobStatus::is_finished).
//!
//! Creates are not counted one by one: what this process creates is added to the store's last count. What others create, and
//! what finishes, is seen at the next count, at most a second later where the limit is near. So one process keeps to the
//! limit, and several exceed it by no more than the others create meanwhile. When the store cannot say, nobody is refused.

mod ledger;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::{Answer, Ledger};

use super::JobService;
use crate::clock::{Clock, ClockExt, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{JobKey, PartitionId};
use crate::query::{Selection, StatusType};
use crate::store::{CreateOutcome, JobStore};
use crate::telemetry;

/// A store that takes longer cannot say.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many partitions are remembered at most.
const PARTITIONS_MAX: usize = 10_000;

/// Lets so many jobs be live in each partition.
#[derive(Debug)]
pub(super) struct LiveJobs {
    max: u64,
    partitions: Mutex<HashMap<PartitionId, Arc<Known>>>,
}

/// What is known about a partition.
#[derive(Debug, Default)]
struct Known {
    ledger: Mutex<Ledger>,
    /// Held by whoever counts, so that nobody else does.
    turn: tokio::sync::Mutex<()>,
}

/// Room for a job that is being created, until this is settled or dropped; none where no room is needed.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct Place(Option<Arc<Known>>);

impl JobService {
    /// Whether each of these jobs may be created: a place for it, or why there is none.
    pub(super) async fn places(&self, keys: &[JobKey]) -> Vec<Result<Place>> {
        match &self.live_jobs {
            None => keys.iter().map(|_| Ok(Place::default())).collect(),
            Some(live_jobs) => live_jobs.places(&*self.store, &*self.clock, keys).await,
        }
    }
}

impl LiveJobs {
    pub(super) fn new(max: u64) -> Self {
        Self { max, partitions: Mutex::default() }
    }

    async fn places(&self, store: &dyn JobStore, clock: &dyn Clock, keys: &[JobKey]) -> Vec<Result<Place>> {
        let mut places = self.take(store, clock, keys, &[]).await;
        if places.iter().any(Result::is_err) {
            let exists = existing(store, keys).await;
            if exists.contains(&true) {
                drop(places);
                places = self.take(store, clock, keys, &exists).await;
            }
        }
        let refused = places.iter().filter(|place| place.is_err()).count();
        if refused > 0 {
            telemetry::creates_refused(refused);
        }
        places.into_iter().map(|place| place.map_err(|live| self.full(live))).collect()
    }

    /// Places for those that need one, as far as is known which exist.
    async fn take(
        &self,
        store: &dyn JobStore,
        clock: &dyn Clock,
        keys: &[JobKey],
        exists: &[bool],
    ) -> Vec<Result<Place, u64>> {
        let mut places = Vec::with_capacity(keys.len());
        let mut placed = HashSet::with_capacity(keys.len());
        for (at, key) in keys.iter().enumerate() {
            // Mentioned again, it is a repeat.
            let is_repeat = placed.contains(key) || exists.get(at).is_some_and(|exists| *exists);
            let place =
                if is_repeat { Ok(Place::default()) } else { self.place(store, clock, &key.partition).await };
            if place.is_ok() {
                placed.insert(key);
            }
            places.push(place);
        }
        places
    }

    /// A place in the partition; the error is how many jobs have theirs.
    async fn place(
        &self,
        store: &dyn JobStore,
        clock: &dyn Clock,
        partition: &PartitionId,
    ) -> Result<Place, u64> {
        let known = self.known(partition, clock.now());
        loop {
            let turn = known.turn.try_lock();
            let answer = known.ledger().ask(self.max, clock.now(), turn.is_err());
            match (answer, turn) {
                (Answer::Pending, _) => return Ok(Place(Some(Arc::clone(&known)))),
                (Answer::Full { live, is_news }, _) => {
                    if is_news {
                        let max = self.max;
                        tracing::warn!(%partition, live, max, "a partition has all the live jobs it may have: more are refused");
                    }
                    return Err(live);
                }
                (Answer::Count, Ok(_turn)) => self.count(&known, store, clock, partition).await,
                // Whoever has the turn counts for all.
                (Answer::Count, Err(_)) => drop(known.turn.lock().await),
            }
        }
    }

    async fn count(&self, known: &Known, store: &dyn JobStore, clock: &dyn Clock, partition: &PartitionId) {
        let seen = known.ledger().seen_by_a_count();
        let selection = Selection { status_type: StatusType::NotFinished, ..Selection::default() };
        let counted = clock.timeout(PATIENCE, store.count(partition, &selection)).await;
        let counted =
            counted.unwrap_or_else(|_| Err(Error::unavailable("the store takes too long to count")));
        let live = match counted {
            Ok(counts) => Some(counts.values().sum()),
            Err(error) => {
                tracing::debug!(%partition, %error, "live jobs cannot be counted, and nobody is refused");
                None
            }
        };
        known.ledger().counted(self.max, clock.now(), live, seen);
    }

    fn known(&self, partition: &PartitionId, now: Timestamp) -> Arc<Known> {
        let mut partitions = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = partitions.get(partition) {
            return Arc::clone(known);
        }
        if partitions.len() >= PARTITIONS_MAX {
            // To be forgotten costs a count. Many go at once, so that making room is rare.
            partitions.retain(|_, known| known.ledger().is_good(self.max, now));
            if partitions.len() > PARTITIONS_MAX / 2 {
                partitions.clear();
            }
        }
        Arc::clone(partitions.entry(partition.clone()).or_default())
    }

    fn full(&self, live: u64) -> Error {
        Error::new(
            ErrorKind::LimitReached,
            format!(
                "the partition has {live} live (unfinished) jobs, and at most {} are allowed: wait until some finish, \
                 cancel or delete some, or have the limit on live jobs raised",
                self.max
            ),
        )
    }
}

/// Whether there is a job of each key: creating it again makes none, and has its usual answer. When the store cannot say, it
/// is to say what it makes of the creates themselves.
async fn existing(store: &dyn JobStore, keys: &[JobKey]) -> Vec<bool> {
    match store.statuses(keys).await {
        Ok(statuses) => statuses.iter().map(Option::is_some).collect(),
        Err(_) => vec![true; keys.len()],
    }
}

impl Known {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The store has answered.
    pub(super) fn settle(mut self, outcome: &CreateOutcome) {
        if let Some(known) = self.0.take() {
            known.ledger().ended(*outcome == CreateOutcome::Created);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(known) = self.0.take() {
            known.ledger().ended(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn no_more_partitions_are_remembered_than_there_is_room_for() {
        let live_jobs = LiveJobs::new(1);
        let remembered = || live_jobs.partitions.lock().unwrap().len();
        let meet = |number: usize, now: i64| {
            let known = live_jobs.known(&PartitionId::new(format!("p{number}")).unwrap(), at(now));
            known.ledger().counted(1, at(now), Some(0), 0);
        };
        for number in 0..PARTITIONS_MAX {
            meet(number, if number < 9_000 { 0 } else { 500 });
        }
        assert_eq!(remembered(), PARTITIONS_MAX);
        meet(PARTITIONS_MAX, 1_000);
        assert_eq!(remembered(), 1_001, "those whose count is good for no longer are forgotten");
        for number in 0..3 * PARTITIONS_MAX {
            meet(number, 1_200);
            assert!(remembered() <= PARTITIONS_MAX);
        }
    }
}
