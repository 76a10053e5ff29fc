//! Gathers deliveries into batches.

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};

use crate::clock::{Clock, ClockExt};
use crate::queue::{Consumer, Delivery};
use crate::shutdown::Shutdown;

/// When a batch closes: at the first of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// With this many deliveries,
    pub size: usize,
    /// or when none has come for this long,
    pub idle: Duration,
    /// or after this long.
    pub time_max: Duration,
}

/// The next batch; none when the queue is closed or stopping was asked for.
pub(crate) async fn next_batch(
    consumer: &mut Consumer,
    limits: &BatchLimits,
    clock: &dyn Clock,
    shutdown: &Shutdown,
) -> Option<Vec<Delivery>> {
    let first = tokio::select! {
        biased;
        () = shutdown.stopping() => return None,
        first = consumer.next() => first?,
    };
    let deadline = clock.now().saturating_add(limits.time_max);
    let mut batch = vec![first];
    while batch.len() < limits.size {
        // Whatever is at hand costs no timer.
        let next = match consumer.next().now_or_never() {
            Some(next) => next,
            None => {
                let left = deadline.since(clock.now()).min(limits.idle);
                clock.timeout(left, consumer.next()).await.ok().flatten()
            }
        };
        match next {
            Some(delivery) => batch.push(delivery),
            None => break,
        }
    }
    Some(batch)
}
