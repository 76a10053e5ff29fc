//! How fast each token may ask.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job_core::Timestamp;

/// A token that has rested may ask for as much at once as otherwise in this time.
const BURST: Duration = Duration::from_secs(2);
/// When so many tokens are remembered, those that have rested are forgotten.
const TOKENS_MAX: usize = 10_000;

/// Spaces the requests of each token evenly, but for bursts.
#[derive(Debug)]
pub(super) struct Rates {
    /// What one request takes of a token's time, in microseconds; zero when there is no limit.
    each: i64,
    /// Until when each token's time is taken, in microseconds.
    taken: Mutex<HashMap<String, i64>>,
}

impl Rates {
    /// `per_second` requests of one token; zero for any number.
    pub(super) fn new(per_second: u32) -> Self {
        let each = if per_second == 0 { 0 } else { (1_000_000 / i64::from(per_second)).max(1) };
        Self { each, taken: Mutex::default() }
    }

    /// Counts a request of a token; the error is how long it has to wait for the next.
    pub(super) fn asked(&self, token: &str, now: Timestamp) -> Result<(), Duration> {
        if self.each == 0 {
            return Ok(());
        }
        let now = now.as_millis().saturating_mul(1_000);
        let burst = i64::try_from(BURST.as_micros()).unwrap_or(i64::MAX);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let until = taken.get(token).copied().unwrap_or(now).max(now) + self.each;
        if until - now > burst {
            return Err(Duration::from_micros((until - now - burst).unsigned_abs()));
        }
        match taken.get_mut(token) {
            Some(mine) => *mine = until,
            None => {
                if taken.len() >= TOKENS_MAX {
                    taken.retain(|_, until| *until > now);
                }
                taken.insert(token.to_owned(), until);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_asks_too_fast_waits_and_no_other_does() {
        let rates = Rates::new(500);
        let at = Timestamp::from_millis;
        for _ in 0..1_000 {
            assert_eq!(rates.asked("a", at(0)), Ok(()));
        }
        assert_eq!(rates.asked("a", at(0)), Err(Duration::from_millis(2)));
        assert_eq!(rates.asked("b", at(0)), Ok(()));
        // Being refused costs nothing.
        assert_eq!(rates.asked("a", at(2)), Ok(()));
        assert!(rates.asked("a", at(2)).is_err());
        let passed = (0..10_000).filter(|_| rates.asked("a", at(1_002)).is_ok()).count();
        assert_eq!(passed, 500, "what it may in a second");
        // A clock that is set back locks nobody out for longer than it was set.
        assert!(rates.asked("c", at(1_000)).is_ok() && rates.asked("c", at(0)).is_ok());
    }

    #[test]
    fn there_may_be_no_limit_and_nobody_is_remembered_for_ever() {
        let rates = Rates::new(0);
        assert!((0..10_000).all(|_| rates.asked("a", Timestamp::from_millis(0)).is_ok()));
        let rates = Rates::new(1_000);
        for token in 0..=TOKENS_MAX {
            rates.asked(&token.to_string(), Timestamp::from_millis(token as i64 * 10)).unwrap();
        }
        assert!(rates.taken.lock().unwrap().len() < 10);
    }
}
