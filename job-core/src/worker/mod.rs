//! The worker SDK: code that performs the tasks of one kind, and the runner that feeds it.
//!
//! A [`Worker`] gets a typed payload and a [`TaskContext`], may split the task into any number of subtasks while it runs,
//! and says how the task ended ([`Outcome`]). The [`Runner`] does the rest: it takes tasks off a queue, leaves out those
//! whose job is not wanted any more, numbers and publishes what the worker produces, reports to the engine, and settles
//! a delivery only when everything that follows from it is confirmed. It speaks the message format of the CAF worker
//! framework, so its workers share queues and jobs with workers in Java.
//!
//! ```
//! use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Resize { images: Vec<String> }
//!
//! #[derive(Serialize)]
//! struct Image { name: String }
//!
//! struct Resizer;
//!
//! impl Worker for Resizer {
//!     type Task = Resize;
//!     const KIND: &'static str = "Resize";
//!
//!     async fn run(&self, task: Resize, context: &TaskContext) -> WorkerResult {
//!         for name in task.images {
//!             context.subtask("images", "Image", 1, &Image { name }).await?;
//!         }
//!         Ok(Outcome::done())
//!     }
//! }
//! ```

pub mod batch;
mod context;
mod counts;
mod finisher;
mod intake;
mod outcome;
mod place;
mod publishing;
mod registry;
mod report;
mod responses;
mod runner;
mod settings;
mod status;
mod status_cache;
mod subtask;
mod task;
mod variables;

use std::future::Future;

use serde::de::DeserializeOwned;

pub use context::TaskContext;
pub use counts::RunnerCounts;
pub use outcome::{BoxError, Outcome, WorkerResult};
pub use runner::{Runner, RunnerBuilder, RunnerMonitor};
pub use settings::RunnerSettings;
pub use status::{AlwaysActive, StatusAnswer, StatusQuestion, StatusSource, StoreStatus};
pub use status_cache::CachedStatus;
pub use subtask::{Subtask, SubtaskError};
pub use variables::input_queue;

/// Code that performs the tasks of one kind.
///
/// A task may be delivered more than once: after a crash, a lost connection or a retry it runs again from its beginning,
/// and what it sends then has the same ids. One value serves all tasks of its runner at once.
pub trait Worker: Send + Sync + 'static {
    /// The payload.
    type Task: DeserializeOwned + Send;

    /// Selects the tasks: the classifier in the message.
    const KIND: &'static str;

    /// The newest version of the payload that [`run`](Self::run) understands.
    const API_VERSION: i32 = 1;

    /// Overrides [`KIND`](Self::KIND) where the kind is known at run time only.
    fn kind(&self) -> &str {
        Self::KIND
    }

    /// Performs a task.
    ///
    /// An error or a panic is a failure of the job. The future is dropped at an await when the job is cancelled while
    /// its messages wait for a queue, and when the runner stops and the time to finish is over.
    fn run(&self, task: Self::Task, context: &TaskContext) -> impl Future<Output = WorkerResult> + Send;
}
