//! One circuit per queue: a queue that does not answer is left alone for a while, so that batches with messages for it do
//! not wait again and again.
//!
//! A queue that refuses answers, and is no concern of this module.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use job_core::Timestamp;
use job_core::backoff::Backoff;

/// How long a silent queue is left alone.
const REST: Backoff = Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30) };
/// How long a message that tries a silent queue again is waited for.
const TRIAL: Duration = Duration::from_secs(1);

/// Whether a message may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// As any other.
    Normal,
    /// To see whether the queue answers again; it is to be waited for this long.
    Trial(Duration),
    /// Not now.
    Resting,
}

#[derive(Debug)]
struct Silent {
    silences: u32,
    rests_until: Timestamp,
}

/// The queues that did not answer.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    silent: Mutex<HashMap<String, Silent>>,
    /// So that the healthy case takes no lock.
    count: AtomicUsize,
    epoch: AtomicU64,
}

impl Circuits {
    /// A new connection knows nothing of the old one's troubles.
    pub(crate) fn on_connection(&self, epoch: u64) {
        if self.epoch.swap(epoch, Ordering::Relaxed) != epoch {
            let mut silent = self.lock();
            silent.clear();
            self.count.store(0, Ordering::Relaxed);
        }
    }

    /// Asks before a message for `queue` is sent.
    pub(crate) fn admit(&self, queue: &str, now: Timestamp) -> Admission {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Admission::Normal;
        }
        match self.lock().get_mut(queue) {
            None => Admission::Normal,
            Some(silent) if now < silent.rests_until => Admission::Resting,
            Some(silent) => {
                // One at a time: whoever comes next finds it resting.
                silent.rests_until = now.saturating_add(TRIAL);
                Admission::Trial(TRIAL)
            }
        }
    }

    /// The queue answered, whatever it said.
    pub(crate) fn answered(&self, queue: &str) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut silent = self.lock();
        if silent.remove(queue).is_some() {
            tracing::info!(queue.name = queue, "a queue answers again");
        }
        self.count.store(silent.len(), Ordering::Relaxed);
    }

    /// The queue did not answer in time.
    pub(crate) fn was_silent(&self, queue: &str, now: Timestamp) {
        let mut all = self.lock();
        let silences = all.get(queue).map_or(0, |silent| silent.silences.saturating_add(1));
        let rest = REST.wait(silences, 0);
        tracing::warn!(queue.name = queue, rest_ms = rest.as_millis(), "a queue does not answer");
        all.insert(queue.to_owned(), Silent { silences, rests_until: now.saturating_add(rest) });
        self.count.store(all.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Silent>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_silent_queue_rests_is_tried_once_and_rests_longer() {
        let circuits = Circuits::default();
        assert_eq!(circuits.admit("q", at(0)), Admission::Normal);
        circuits.was_silent("q", at(0));
        assert_eq!(circuits.admit("q", at(700)), Admission::Resting);
        assert_eq!(circuits.admit("other", at(700)), Admission::Normal);
        assert_eq!(circuits.admit("q", at(1_000)), Admission::Trial(TRIAL));
        assert_eq!(circuits.admit("q", at(1_001)), Admission::Resting);
        circuits.was_silent("q", at(2_000));
        assert_eq!(circuits.admit("q", at(3_400)), Admission::Resting);
        assert_eq!(circuits.admit("q", at(4_000)), Admission::Trial(TRIAL));
        circuits.answered("q");
        assert_eq!(circuits.admit("q", at(4_001)), Admission::Normal);
    }

    #[test]
    fn a_trial_of_which_nothing_is_heard_is_followed_by_another() {
        let circuits = Circuits::default();
        circuits.was_silent("q", at(0));
        assert_eq!(circuits.admit("q", at(1_000)), Admission::Trial(TRIAL));
        assert_eq!(circuits.admit("q", at(2_000)), Admission::Trial(TRIAL));
    }
}
