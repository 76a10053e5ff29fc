//! Waiting for a condition, and how long things took.

use std::fmt;
use std::time::Duration;

use job_core::{Clock as _, Shutdown, SystemClock};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(25);

/// Looks until `look` finds something; none when it has not within `limit`.
pub(crate) async fn until<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let clock = SystemClock::new();
    let begin = clock.now();
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if clock.now().since(begin) > limit {
            return None;
        }
        clock.sleep(LOOK).await;
    }
}

/// Lets something that blocks happen beside everything else.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    Shutdown::new().spawn_blocking(work).await.unwrap()
}

/// Durations, shown by their median and their longest.
#[derive(Debug, Default)]
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    pub(crate) fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort();
        let (Some(longest), Some(median)) = (sorted.last(), sorted.get(sorted.len() / 2)) else {
            return f.write_str("never");
        };
        write!(f, "median {} ms, longest {} ms of {}", median.as_millis(), longest.as_millis(), sorted.len())
    }
}
