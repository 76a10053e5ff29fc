//! A task's share of its runner's concurrency.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use crate::clock::Timestamp;

/// How long a task waits for room on its runner's own queue before an operator is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// Held while a task runs, given up while it waits for its own runner.
///
/// A task that splits into subtasks on the queue it came from may fill that queue. If all places were taken by such tasks,
/// and nobody else consumed the queue, they would wait for each other for ever. So they wait without a place, and the
/// runner takes the next delivery meanwhile; for as long as these tasks go on it runs more of them than it was told.
#[derive(Debug)]
pub(super) struct Place(Mutex<State>);

#[derive(Debug)]
struct State {
    permit: Option<OwnedSemaphorePermit>,
    waiting_since: Option<Timestamp>,
}

impl Place {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(State { permit: Some(permit), waiting_since: None }))
    }

    /// For the next task; none when it was given up.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.change(|state| state.permit.take())
    }

    /// The task waits for room on the queue named `input`, which its runner consumes.
    pub(super) fn wait(&self, input: &str, now: Timestamp) {
        self.change(|state| {
            drop(state.permit.take());
            let since = *state.waiting_since.get_or_insert(now);
            if now.since(since) >= PATIENCE {
                state.waiting_since = Some(now);
                tracing::error!(
                    queue.name = input,
                    "a task has waited a minute for room on the queue that its own runner consumes: if everything in \
                     hand waits like this it never ends; let the queue hold more, raise the prefetch, or send the \
                     subtasks to another queue"
                );
            }
        });
    }

    /// It waits no longer.
    pub(super) fn go_on(&self) {
        self.change(|state| state.waiting_since = None);
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
