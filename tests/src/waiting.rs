//! Waiting for what no signal tells.

use std::time::Duration;

use job_core::{Clock as _, SystemClock};

/// Longer than anything healthy takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(5);

/// Looks until the condition holds.
///
/// # Panics
/// When it still does not after [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let deadline = clock.now().saturating_add(PATIENCE);
    while !holds().await {
        assert!(clock.now() < deadline, "still not: {what}");
        clock.sleep(GLANCE).await;
    }
}
