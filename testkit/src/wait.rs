//! Waiting for a condition with a bound: the one place of this crate that looks at a clock or sleeps.
//!
//! Servers tell nobody when they are ready or gone, so these two states are polled.
#![expect(clippy::disallowed_methods, reason = "servers run in real time and send no signal to wait on")]

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls `condition` until it gives a value; fails when `limit` has passed.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
