//! Asks a Job Service over HTTP whether a job is still wanted, for workers in processes of their own.
//!
//! The messages of a job carry the URL of its status. [`HttpStatus`] asks there, and only there: the URL comes out of a
//! message that anybody may have put on the queue, so it has to begin with one of the origins that the worker was told.
//! What a worker does with the answer, and without one, is the runner's business
//! ([`CachedStatus`](job_core::worker::CachedStatus)).
//!
//! It is a crate of its own because neither the engine nor a queue needs to know HTTP, and a worker on any queue may.
//!
//! ```
//! # use std::sync::Arc;
//! # use job_core::SystemClock;
//! # use job_core::queue::TaskQueue;
//! # use job_core::worker::{Outcome, Runner, TaskContext, Worker, WorkerResult};
//! # use job_worker_http::HttpStatus;
//! # struct Greeter;
//! # impl Worker for Greeter {
//! #     type Task = String;
//! #     const KIND: &'static str = "Greet";
//! #     async fn run(&self, _: String, _: &TaskContext) -> WorkerResult { Ok(Outcome::done()) }
//! # }
//! # fn host(queue: Arc<dyn TaskQueue>) -> job_core::Result<Runner> {
//! let status = HttpStatus::asking(["http://job-service:8080"], Arc::new(SystemClock::new()))?;
//! Runner::builder(queue, "greetings").register(Greeter).status(status).build()
//! # }
//! ```

mod answer;
mod origin;
mod source;

pub use source::HttpStatus;
