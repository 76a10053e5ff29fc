//! Whether a job is still wanted: the question every worker asks before and during a task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::id::JobKey;
use crate::lifecycle::JobStatus;
use crate::store::JobStore;

/// How long an answer of the store holds unless it is set otherwise: the contract's default interval.
const STORE_ANSWER_VALID: Duration = Duration::from_secs(5);

/// A question about one job.
#[derive(Debug, Clone, Copy)]
pub struct StatusQuestion<'a> {
    /// The job.
    pub job: &'a JobKey,
    /// Where a message of the job says that the question can be asked.
    pub url: Option<&'a str>,
    /// How long the last answer that the message knows of held.
    pub interval: Duration,
}

/// What is known about a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusAnswer {
    /// Its status; none when there is no such job.
    pub status: Option<JobStatus>,
    /// When that was so.
    pub as_of: Timestamp,
    /// How long there is no need to ask again.
    pub valid_for: Duration,
}

/// Somebody who knows the status of jobs.
#[async_trait]
pub trait StatusSource: fmt::Debug + Send + Sync + 'static {
    /// Asks. `None` when there is no way to ask about this job: its tasks run.
    ///
    /// # Errors
    /// When no answer came; the runner then goes by what was known before.
    async fn ask(&self, question: StatusQuestion<'_>) -> Result<Option<StatusAnswer>>;

    /// Whether the engine that is asked runs in this process, so that workers may leave out and bundle reports in ways
    /// that engines elsewhere might not cope with.
    fn is_in_process(&self) -> bool {
        false
    }
}

/// Asks the store of an engine in the same process.
#[derive(Debug, Clone)]
pub struct StoreStatus {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    valid_for: Duration,
}

impl StoreStatus {
    /// Answers hold for five seconds.
    #[must_use]
    pub fn new(store: Arc<dyn JobStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, valid_for: STORE_ANSWER_VALID }
    }

    /// Answers hold for this long: what a cancellation takes to reach a running task at most.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.valid_for = interval;
        self
    }
}

#[async_trait]
impl StatusSource for StoreStatus {
    async fn ask(&self, question: StatusQuestion<'_>) -> Result<Option<StatusAnswer>> {
        let as_of = self.clock.now();
        let statuses = self.store.statuses(std::slice::from_ref(question.job)).await?;
        let status = statuses.into_iter().next().flatten();
        Ok(Some(StatusAnswer { status, as_of, valid_for: self.valid_for }))
    }

    fn is_in_process(&self) -> bool {
        true
    }
}

/// Never asks: every task runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlwaysActive;

#[async_trait]
impl StatusSource for AlwaysActive {
    async fn ask(&self, _: StatusQuestion<'_>) -> Result<Option<StatusAnswer>> {
        Ok(None)
    }
}
