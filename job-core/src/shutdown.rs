//! The only place that spawns. Tasks of one owner are tracked and end together; one with an owner of its own is short, and
//! somebody waits for its answer.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::clock::{Clock, ClockExt};

/// Owns the background tasks of an engine. Clones share them.
///
/// Stopping is a request: each task finishes what it has begun, such as a batch that is recorded but not yet acked, and
/// returns.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// With no tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` in the background. It should return soon after [`stopping`](Self::stopping) completes.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// Runs `work`, which blocks or computes for long, on a thread of its own.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tasks.spawn_blocking(work)
    }

    /// A group of tasks that can be stopped alone, and stops with this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { stop: self.stop.child_token(), tasks: self.tasks.clone() }
    }

    /// Completes once stopping was asked for. Cancel safe.
    pub fn stopping(&self) -> WaitForCancellationFutureOwned {
        self.stop.clone().cancelled_owned()
    }

    /// Whether stopping was asked for.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Asks every task to stop, without waiting.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Asks every task to stop and waits until all have, at most `limit`; answers whether all have.
    pub async fn drain(&self, clock: &dyn Clock, limit: Duration) -> bool {
        self.stop();
        self.tasks.close();
        clock.timeout(limit, self.tasks.wait()).await.is_ok()
    }
}
