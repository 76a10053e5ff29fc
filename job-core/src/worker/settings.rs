//! How a runner works.

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use crate::backoff::Backoff;
use crate::message::same_queue;

/// Settings of a [`Runner`](super::Runner). Where a CAF worker has a variable for the same thing, it is named.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// The name that messages and failures are signed with (the container's `workerName`); the task's kind when unset.
    pub name: Option<String>,
    /// The version they are signed with; `UNKNOWN` when unset.
    pub version: Option<String>,
    /// How texts for people call the worker (`CAF_WORKER_FRIENDLY_NAME`); its name or kind when unset.
    pub friendly_name: Option<String>,
    /// The key under which workers keep state in messages (`CAF_APPNAME`).
    pub context_key: String,
    /// Where failed and invalid tasks are answered, besides being reported (`CAF_WORKER_OUTPUT_QUEUE`, of batches
    /// `CAF_BATCH_WORKER_ERROR_QUEUE`). Without it the report is the answer, and what is not tracked goes to the reject
    /// queue.
    pub output_queue: Option<String>,
    /// Where the tasks of paused jobs go (`CAF_WORKER_PAUSED_QUEUE`); they run when it is unset.
    pub paused_queue: Option<String>,
    /// Where a copy of a task that exceeded its retries goes (`CAF_WORKER_REJECT_QUEUE`); the name, or the input queue
    /// when that is unset too, with `-reject` behind it when unset.
    pub reject_queue: Option<String>,
    /// Where a classic queue's redelivered tasks go to be counted, instead of the input queue, and where messages go that
    /// cannot be read, instead of the input queue's name with `-reject` (`CAF_WORKER_RETRY_QUEUE`).
    pub retry_queue: Option<String>,
    /// How often a task is tried again (`CAF_WORKER_RETRY_LIMIT`).
    pub retry_limit: u32,
    /// The wait before a try again, where the worker names none.
    pub retry_backoff: Backoff,
    /// How many entries of a task travel in one report message (`CAF_WORKER_REPORT_UPDATES_BUFFER_LIMIT`).
    pub report_buffer: NonZeroUsize,
    /// Whether to report progress of zero (the opposite of `CAF_WORKER_DISABLE_ZERO_PROGRESS_REPORTING`), which has no
    /// effect on a job. When unset: unless the engine runs in this process.
    pub zero_progress: Option<bool>,
    /// Whether reports of different tasks travel together. When unset: if the engine runs in this process. An engine
    /// elsewhere may drop all entries of a message over one that it cannot record.
    pub coalesce_reports: Option<bool>,
    /// Whether a message whose `to` names another queue is sent there instead of being run
    /// (`CAF_WORKER_ENABLE_DIVERTED_TASK_CHECKING`).
    pub forward_diverted: bool,
    /// How many tasks run at once (`CAF_WORKER_THREADS`). Those that wait for room on the very queue they came from do not
    /// count: their runner has to go on with that queue.
    pub concurrency: NonZeroUsize,
    /// How many deliveries may be in hand: those that run, and those whose messages wait for confirmation. When unset:
    /// twice the concurrency and some.
    pub prefetch: Option<NonZeroU16>,
    /// How long running tasks have to finish when stopping was asked for, before they are handed back.
    pub drain_limit: Duration,
    /// The least time between two messages about a task's percentage.
    pub progress_interval: Duration,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            name: None,
            version: None,
            friendly_name: None,
            context_key: "caf/worker".to_owned(),
            output_queue: None,
            paused_queue: None,
            reject_queue: None,
            retry_queue: None,
            retry_limit: 10,
            retry_backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(60) },
            report_buffer: NonZeroUsize::new(5).expect("five is not zero"),
            zero_progress: None,
            coalesce_reports: None,
            forward_diverted: true,
            concurrency: NonZeroUsize::new(8).expect("eight is not zero"),
            prefetch: None,
            drain_limit: Duration::from_secs(30),
            progress_interval: Duration::from_secs(1),
        }
    }
}

impl RunnerSettings {
    pub(super) fn prefetch_of_all_lanes(&self) -> usize {
        match self.prefetch {
            Some(prefetch) => usize::from(prefetch.get()),
            None => (2 * self.concurrency.get() + 32).min(usize::from(u16::MAX)),
        }
    }

    pub(super) fn reject_queue(&self, input: &str) -> String {
        let name = self.name.as_deref().unwrap_or(input);
        self.reject_queue.clone().unwrap_or_else(|| format!("{name}-reject"))
    }

    /// Never the input queue itself: what cannot be read would come back for ever.
    pub(super) fn unreadable_queue(&self, input: &str) -> String {
        match &self.retry_queue {
            Some(queue) if !same_queue(queue, input) => queue.clone(),
            _ => format!("{input}-reject"),
        }
    }
}
