//! How long to wait before trying again.

use std::time::Duration;

/// Doubles from a first wait to a longest one, with up to a quarter taken off, so that many waiters spread out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// For messages that a queue did not take.
    pub const DISPATCH: Self = Self { first: Duration::from_millis(100), longest: Duration::from_secs(30) };
    /// For messages of a task in hand: a full queue has room again as soon as somebody takes a message off it.
    pub const FULL_QUEUE: Self =
        Self { first: Duration::from_millis(20), longest: Duration::from_millis(250) };
    /// For a store or a queue that cannot be reached.
    pub const RECONNECT: Self = Self { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

    /// The wait after failure number `failures` (the first is 0); `spread` is anything that differs between waiters.
    #[must_use]
    pub fn wait(self, failures: u32, spread: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX))
            .min(self.longest);
        // The multiplier mixes neighbouring ids far apart (golden ratio); only its high byte is used.
        let mixed = spread.wrapping_add(u64::from(failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
        let mixed = u32::try_from(mixed).unwrap_or(0);
        doubled - (doubled / 4) * mixed / 256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_within_bounds() {
        let backoff = Backoff::DISPATCH;
        for failures in 0..100 {
            for spread in 0..50 {
                let full =
                    Duration::from_millis(100).saturating_mul(1 << failures.min(20)).min(backoff.longest);
                let wait = backoff.wait(failures, spread);
                assert!(wait <= full && wait >= full * 3 / 4, "{failures} {wait:?}");
            }
        }
        assert_ne!(backoff.wait(3, 1), backoff.wait(3, 2));
        assert!((0..100).all(|failures| Backoff::FULL_QUEUE.wait(failures, 7) <= Duration::from_millis(250)));
    }
}
