//! Time, random ids and the only places that read them.
//!
//! Everything else in the engine takes a [`Clock`] and an [`IdSource`], so that a test decides what time it is and
//! which id comes next.
#![expect(clippy::disallowed_methods, reason = "this file is the door to the system clock and to random ids")]

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An instant, in milliseconds since the Unix epoch (UTC): the resolution of the wire format.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `millis` milliseconds after the Unix epoch; negative is before it.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant moved into the future by `delay`; saturates at the end of time.
    #[must_use]
    pub fn saturating_add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This instant moved into the past by `age`; saturates at the beginning of time.
    #[must_use]
    pub fn saturating_sub(self, age: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this instant is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// As ISO-8601 in UTC; in milliseconds when it is too far away for that.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => time.fmt(f),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0)
    }
}

/// Where the engine learns the time and waits for it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Completes once `duration` has passed on this clock. Cancel safe: dropping the future stops the wait.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The wait of a bounded operation is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out")]
pub struct TimedOut;

/// Conveniences on every [`Clock`].
pub trait ClockExt: Clock {
    /// Runs `future` for at most `limit`; on expiry the future is dropped, so it must be cancel safe.
    ///
    /// # Errors
    /// [`TimedOut`] when `limit` passes first.
    fn timeout<F>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Result<F::Output, TimedOut>> + Send
    where
        F: Future + Send,
        F::Output: Send,
    {
        let expiry = self.sleep(limit);
        async move {
            tokio::select! {
                biased;
                output = future => Ok(output),
                () = expiry => Err(TimedOut),
            }
        }
    }
}

impl<C: Clock + ?Sized> ClockExt for C {}

/// The clock of the machine; it follows tokio's clock, so that a paused test runtime moves it.
#[derive(Debug, Clone)]
pub struct SystemClock {
    since_epoch: Duration,
    started: tokio::time::Instant,
}

impl SystemClock {
    /// Reads the wall clock once; later readings add the monotonic time since, and so never run backwards.
    #[must_use]
    pub fn new() -> Self {
        // With all its digits: cut to milliseconds here, two clocks of one machine would be up to one apart.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { since_epoch, started: tokio::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp(0).saturating_add(self.since_epoch.saturating_add(self.started.elapsed()))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Measures how long something took, for telemetry: finer than a [`Timestamp`], and good for nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since it was started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Where new identifiers come from.
pub trait IdSource: fmt::Debug + Send + Sync + 'static {
    /// An identifier nobody has used before.
    fn next(&self) -> Uuid;
}

/// Random (version 4) UUIDs, as the wire format's producers use.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next(&self) -> Uuid {
        Uuid::new_v4()
    }
}

#[cfg(any(test, feature = "test-util"))]
mod manual {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::time::Duration;

    use futures::future::BoxFuture;
    use tokio::sync::watch;
    use uuid::Uuid;

    use super::{Clock, IdSource, Timestamp};

    /// A clock that stands still until a test moves it. Clones show the same time.
    #[derive(Debug, Clone)]
    pub struct ManualClock {
        now: Arc<watch::Sender<i64>>,
        sleepers: Arc<AtomicI64>,
    }

    impl ManualClock {
        /// A clock that shows `start`.
        #[must_use]
        pub fn new(start: Timestamp) -> Self {
            Self {
                now: Arc::new(watch::Sender::new(start.as_millis())),
                sleepers: Arc::new(AtomicI64::new(0)),
            }
        }

        /// Moves the clock forward and wakes every sleep that is over.
        pub fn advance(&self, by: Duration) {
            self.now.send_modify(|now| *now = Timestamp::from_millis(*now).saturating_add(by).as_millis());
        }

        /// How many sleeps are waiting: lets a test know that somebody has gone to sleep before it moves the clock.
        #[must_use]
        pub fn sleepers(&self) -> i64 {
            self.sleepers.load(Ordering::SeqCst)
        }
    }

    struct Sleeper(Arc<AtomicI64>);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(*self.now.borrow())
        }

        fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
            let deadline = self.now().saturating_add(duration).as_millis();
            let mut now = self.now.subscribe();
            self.sleepers.fetch_add(1, Ordering::SeqCst);
            let sleeper = Sleeper(Arc::clone(&self.sleepers));
            Box::pin(async move {
                let _sleeper = sleeper;
                // The sender lives in the clock; when every clone is gone nobody can observe the wait any more.
                let _ = now.wait_for(|now| *now >= deadline).await;
            })
        }
    }

    /// Ids in ascending order, the same in every run.
    #[derive(Debug, Default)]
    pub struct SequentialIds(AtomicU64);

    impl IdSource for SequentialIds {
        fn next(&self) -> Uuid {
            Uuid::from_u128(u128::from(self.0.fetch_add(1, Ordering::SeqCst)) + 1)
        }
    }
}

#[cfg(any(test, feature = "test-util"))]
pub use manual::{ManualClock, SequentialIds};
