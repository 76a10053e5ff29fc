//! The engine of Job Service, without any I/O.
//!
//! A client creates a **job**; its first **task message** is put on a queue when its prerequisites are done; workers
//! split it into any number of subtasks; the engine counts every subtask exactly once, rolls progress up, reports
//! failures and starts the jobs that depend on it.
//!
//! Core decides, [stores](store::JobStore) persist, [queues](queue::TaskQueue) carry. Backends are crates of their own.

pub mod backoff;
pub mod clock;
pub mod dependency;
pub mod dispatcher;
mod engine;
mod error;
mod excerpt;
mod fingerprint;
mod gather;
pub mod graph;
mod group_commit;
mod id;
mod job;
pub mod job_type;
mod lifecycle;
pub mod message;
pub mod progress;
pub mod query;
pub mod queue;
pub mod recording;
pub mod service;
pub mod shutdown;
pub mod signals;
pub mod store;
pub mod stower;
mod telemetry;
pub mod trace;
pub mod tracker;
pub mod tracking;
pub mod verify;
pub mod worker;

pub use clock::{Clock, ClockExt, IdSource, RandomIds, Stopwatch, SystemClock, Timestamp};
pub use engine::{Engine, EngineSettings};
pub use error::{Error, ErrorKind, Result, RetryClass};
pub use fingerprint::Fingerprint;
pub use gather::BatchLimits;
pub use id::{
    DEFAULT_PARTITION, IdError, JOB_ID_LENGTH_MAX, JobId, JobKey, JobTaskId, PARTITION_ID_LENGTH_MAX,
    PartitionId, TASK_DEPTH_MAX, TASK_NUMBER_MAX, TaskId, TaskPath,
};
pub use job::{
    AcceptedJob, Blocker, DispatchProblem, FAILURE_MESSAGE_BYTES_MAX, FAILURES_SHOWN_MAX, Failure, Job,
    Labels, NewJob, Prerequisite, SubtaskCounts, TEXT_LENGTH_MAX, TaskSpec,
};
pub use lifecycle::{Event, FirstMessage, JobStatus, Refusal, Transition, UnknownStatus, transition};
pub use service::{Created, JobLimits, JobService};
pub use shutdown::Shutdown;
pub use signals::Signals;
