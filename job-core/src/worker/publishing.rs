//! Publishing until the queue has confirmed: a queue that takes no more slows its senders down, and nothing is lost.

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::queue::{Publication, PublishOutcome, TaskQueue};

/// How often a message to a queue that does not exist is tried, about two seconds long: somebody may be about to declare
/// it.
const UNROUTABLE_ATTEMPTS_MAX: u32 = 12;

/// A queue that does not exist, even after a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unroutable(pub(super) String);

/// Publishes messages in order; returns once every one is confirmed. Those that a queue refuses are tried again, at least
/// every quarter of a second, for as long as the caller keeps waiting; each time `waits_for` is told their queues.
pub(super) async fn publish_all(
    queue: &dyn TaskQueue,
    clock: &dyn Clock,
    waits_for: &(dyn Fn(&str) + Sync),
    mut messages: Vec<Publication>,
) -> Result<(), Unroutable> {
    let mut failures = 0;
    while !messages.is_empty() {
        let (left, unroutable) = publish_once(queue, messages).await;
        messages = left;
        if messages.is_empty() {
            break;
        }
        messages.iter().for_each(|message| waits_for(&message.queue));
        match unroutable {
            Some(queue) if failures + 1 >= UNROUTABLE_ATTEMPTS_MAX => return Err(Unroutable(queue)),
            _ => {}
        }
        clock.sleep(Backoff::FULL_QUEUE.wait(failures, messages.len() as u64)).await;
        failures += 1;
    }
    Ok(())
}

/// Publishes messages and returns those that were not confirmed, in order, and a queue that does not exist if there is
/// one.
async fn publish_once(
    queue: &dyn TaskQueue,
    messages: Vec<Publication>,
) -> (Vec<Publication>, Option<String>) {
    let outcomes = match queue.publish(messages.clone()).await {
        Ok(outcomes) => outcomes,
        Err(error) => {
            tracing::warn!(%error, messages = messages.len(), "messages could not be published");
            return (messages, None);
        }
    };
    let mut unroutable = None;
    let mut left = Vec::new();
    for (message, outcome) in messages.into_iter().zip(outcomes) {
        match outcome {
            PublishOutcome::Confirmed => continue,
            PublishOutcome::Unroutable => {
                tracing::warn!(queue.name = message.queue, "a queue to publish to does not exist");
                unroutable = Some(message.queue.clone());
            }
            PublishOutcome::Refused { reason } => {
                tracing::debug!(queue.name = message.queue, reason, "a queue takes no more for the moment");
            }
        }
        left.push(message);
    }
    (left, unroutable)
}
