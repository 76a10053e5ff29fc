//! What a runner has done, for metrics and tests.

use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a runner's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunnerCounts {
    /// Deliveries taken.
    pub received: u64,
    /// Tasks that ended as done or with a result.
    pub succeeded: u64,
    /// Tasks that ended as a failure of their job, those that made no sense or exceeded their retries included.
    pub failed: u64,
    /// Of the failed ones: those that exceeded their retries.
    pub poisoned: u64,
    /// Deliveries put back to be tried again.
    pub retried: u64,
    /// Messages set aside because they cannot be read.
    pub set_aside: u64,
    /// Messages sent on to the queue they name.
    pub forwarded: u64,
    /// Tasks of paused jobs, sent to the queue for them.
    pub paused: u64,
    /// Tasks of jobs that are not wanted any more.
    pub discarded: u64,
}

macro_rules! counters {
    ($($name:ident),*) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters { $(pub(super) $name: Counter),* }

        impl Counters {
            pub(super) fn snapshot(&self) -> RunnerCounts {
                RunnerCounts { $($name: self.$name.0.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters!(received, succeeded, failed, poisoned, retried, set_aside, forwarded, paused, discarded);

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
