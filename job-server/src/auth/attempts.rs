//! Wrong tokens, counted by address, so that nobody may try many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use job_core::Timestamp;

use crate::server::network;

/// Wrong tokens that an address may show within [`WINDOW`].
const FAILURES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// Who showed wrong tokens lately. Right ones pass whatever came before: many clients may share an address.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Window>>);

#[derive(Debug)]
struct Window {
    began: Timestamp,
    failures: u32,
}

impl Attempts {
    /// Counts a wrong token; the error is how long to wait when there were too many.
    pub(super) fn failed(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = network(address);
        if windows.len() >= ADDRESSES_MAX && !windows.contains_key(&address) {
            windows.retain(|_, window| now.since(window.began) < WINDOW);
            if windows.len() >= ADDRESSES_MAX {
                return Err(WINDOW);
            }
        }
        let window = windows.entry(address).or_insert(Window { began: now, failures: 0 });
        if now.since(window.began) >= WINDOW {
            *window = Window { began: now, failures: 0 };
        }
        window.failures = window.failures.saturating_add(1);
        if window.failures > FAILURES_MAX {
            return Err(WINDOW.saturating_sub(now.since(window.began)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv6Addr;

    #[test]
    fn the_eleventh_within_a_minute_waits_for_its_end() {
        let attempts = Attempts::default();
        let at = Timestamp::from_millis;
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..10 {
            assert_eq!(attempts.failed(a, at(0)), Ok(()));
        }
        assert_eq!(attempts.failed(a, at(20_000)), Err(Duration::from_secs(40)));
        assert_eq!(attempts.failed(b, at(20_000)), Ok(()));
        assert_eq!(attempts.failed(a, at(60_000)), Ok(()));
    }

    #[test]
    fn a_network_is_one_address_and_memory_is_bounded() {
        let attempts = Attempts::default();
        let now = Timestamp::from_millis(0);
        for low in 0..10_u128 {
            let address = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | low);
            assert!(attempts.failed(address.into(), now).is_ok());
        }
        assert!(attempts.failed("2001:db8::ffff".parse().unwrap(), now).is_err());
        for number in 0..20_000_u32 {
            let _ = attempts.failed(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        assert_eq!(attempts.0.lock().unwrap().len(), ADDRESSES_MAX);
        assert!(attempts.failed("1.2.3.4".parse().unwrap(), Timestamp::from_millis(60_000)).is_ok());
        assert_eq!(attempts.0.lock().unwrap().len(), 1, "old ones are forgotten");
    }
}
