//! The seam to a store: what keeps jobs, their progress, their dependencies and the outbox.
//!
//! A store holds no rule. Inside one atomic step it locks, loads, calls the pure functions of this crate
//! ([`transition`](crate::transition), [`recording::record`](crate::recording::record),
//! [`dependency`](crate::dependency), [`query`](crate::query)), writes what they say, and commits. It is right when it
//! passes the suite in `job-conformance`.
//!
//! Times: a store never looks at a clock to decide anything. The caller passes `now`; leases live from it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::dependency::CycleError;
use crate::error::Result;
use crate::id::{JobId, JobKey, PartitionId, TaskId, TaskPath};
use crate::job::{AcceptedJob, Failure, Job};
use crate::lifecycle::{JobStatus, Refusal};
use crate::progress::{Anomaly, ReportEvent, TaskProgress};
use crate::query::{JobPage, JobQuery, Selection};
use crate::queue::Headers;
use crate::recording::RecordOutcome;

/// What became of an [`AcceptedJob`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateOutcome {
    /// It is stored.
    Created,
    /// A job of this id with the same fingerprint is stored already, in whatever status; nothing changed.
    Unchanged,
    /// A job of this id with another fingerprint is stored already; nothing changed.
    Conflict,
    /// These prerequisites have failed, in the order they were named; nothing changed.
    PrerequisitesFailed(Vec<JobId>),
    /// The prerequisites close a cycle; nothing changed.
    Cycle(CycleError),
}

/// What a client does to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Stop it for good.
    Cancel,
    /// Hold it.
    Pause,
    /// Let it go on.
    Resume,
    /// Publish its first task message once more: what a queue that lost its messages needs.
    Redispatch,
    /// Remove it and everything about it, in any status.
    Delete,
}

/// What became of an [`Action`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionOutcome {
    /// The job changed.
    Applied,
    /// It already was what the action makes of it.
    Unchanged,
    /// There is no such job.
    NotFound,
    /// Its status does not allow the action.
    Refused(Refusal),
}

/// What one step of an action on many jobs did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkOutcome {
    /// How many jobs changed.
    pub changed: u64,
    /// Where the next step begins; `None` when every selected job has been visited.
    pub next: Option<JobId>,
}

/// What one step of redispatching did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedispatchStep {
    /// How many first task messages were put back into the outbox.
    pub redispatched: u64,
    /// Where the next step begins; `None` when every unfinished job has been visited.
    pub next: Option<JobKey>,
}

/// One thing a worker says about one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReport {
    /// The job.
    pub job: JobKey,
    /// The task within it.
    pub task: TaskId,
    /// What is said.
    pub event: ReportEvent,
}

/// What a batch of reports did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// One per report, in order.
    pub outcomes: Vec<RecordOutcome>,
    /// Jobs that are complete now and were not before.
    pub completed: Vec<JobKey>,
    /// Jobs that failed now, those that failed with a prerequisite included.
    pub failed: Vec<JobKey>,
    /// When the earliest of the jobs released by this batch is due; `None` when it released none. A dispatcher is to be
    /// woken when it is not in the future.
    pub released_due: Option<Timestamp>,
    /// What a correct worker would not have sent.
    pub anomalies: Vec<(JobKey, Anomaly)>,
    /// Jobs that are stored in a way that makes no sense, and what is wrong with them.
    pub damaged: Vec<(JobKey, String)>,
}

/// Names a process' dispatcher towards the store.
pub type LeaseOwner = Uuid;

/// A message that is to be published, on lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Names the entry; never used again for another message.
    pub id: u64,
    /// The job it belongs to.
    pub job: JobKey,
    /// What to publish.
    pub content: OutboxContent,
    /// How often publishing it was tried before.
    pub attempts: u32,
}

/// What an [`OutboxEntry`] publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutboxContent {
    /// The first task message of a job, to be built by the dispatcher.
    Start {
        /// The `taskId` of the message.
        task_id: Uuid,
        /// The task.
        task: crate::job::TaskSpec,
        /// Travels with the message.
        correlation_id: Option<String>,
    },
    /// A message kept while its job was paused, to be published as it was.
    Stowed {
        /// The queue it belongs on.
        queue: String,
        /// The message, byte for byte.
        body: Bytes,
        /// The headers it came with.
        headers: Headers,
    },
}

impl OutboxContent {
    /// How many bytes its payload has: the task data, or the message as it was.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Start { task, .. } => task.data.len(),
            Self::Stowed { body, .. } => body.len(),
        }
    }
}

/// Which entries a dispatcher takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Who takes them.
    pub owner: LeaseOwner,
    /// The current time.
    pub now: Timestamp,
    /// How long the entries are its own.
    pub lease: Duration,
    /// The most to take; at least 1.
    pub limit: u32,
    /// No more is taken when what was taken has this many bytes ([`OutboxContent::size`]): how much memory a claim may
    /// need, but for one message more.
    pub bytes_limit: usize,
}

/// Entries taken, and when to look again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The entries, on lease.
    pub entries: Vec<OutboxEntry>,
    /// When the earliest entry that was not taken is due, may be tried again, or loses its lease; `None` when nothing
    /// waits for a time to come. May be early, never late.
    pub next_due: Option<Timestamp>,
}

/// How publishing an entry ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// The queue confirmed it: the entry is removed and, for a first message, the job counts as dispatched.
    Published,
    /// It is to be tried again, not before `retry_at`; the reason is shown in the job.
    Failed {
        /// When to try again.
        retry_at: Timestamp,
        /// What the queue said.
        reason: String,
    },
}

/// A message of a paused job that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StowedMessage {
    /// The job it belongs to.
    pub job: JobKey,
    /// The queue it is to go back to.
    pub queue: String,
    /// The message, byte for byte.
    pub body: Bytes,
    /// The headers it came with.
    pub headers: Headers,
}

/// What became of a [`StowedMessage`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StowOutcome {
    /// It is kept, and published when the job is resumed; at once when the job is not paused any more.
    Stowed,
    /// The job is gone or finished: the message is of no more use.
    Dropped,
    /// The job is stored in a way that makes no sense, for this reason; the message is not kept.
    Damaged(String),
}

/// Which finished jobs to remove.
#[derive(Debug, Clone, PartialEq)]
pub struct PruneRequest {
    /// In which partition; every one when `None`.
    pub partition: Option<PartitionId>,
    /// Of these statuses; those that are not finished are ignored.
    pub statuses: Vec<JobStatus>,
    /// Finished before this.
    pub finished_before: Timestamp,
    /// Only jobs with this label, if one is named.
    pub label: Option<String>,
    /// The most to remove in this step; at least 1.
    pub limit: u32,
}

/// Whether a partition's messages are held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suspension {
    /// They are, those of jobs created later included.
    Hold,
    /// They are not any more, those of jobs that were [accepted as suspended](AcceptedJob::suspended) included.
    Release,
}

/// Something stored that contradicts what it is derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The job.
    pub job: JobKey,
    /// The task within it; the job's own path for a fact about the job.
    pub task: TaskPath,
    /// What is wrong.
    pub what: String,
    /// What is stored.
    pub stored: String,
    /// What it should be.
    pub expected: String,
}

/// What to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyRequest {
    /// In which partition.
    pub partition: PartitionId,
    /// One job, or every job of the partition.
    pub job: Option<JobId>,
    /// Whether to correct what is wrong.
    pub repair: bool,
}

/// How many outbox entries of a kind an [`Overview`] counts at most, so that a look never becomes a burden.
pub const OVERVIEW_ENTRIES_MAX: u64 = 100_000;

/// The whole store at a glance, for the person who watches it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// Jobs of all partitions by status; statuses without jobs are left out.
    pub jobs: BTreeMap<JobStatus, u64>,
    /// Entries that are due, not held and not yet confirmed, those on lease and those to be tried again included.
    pub due: u64,
    /// Of those, the ones that were tried in vain before.
    pub failing: u64,
    /// Since when the oldest of them has been due; none when there are none.
    pub oldest_due: Option<Timestamp>,
    /// Connections to what is behind the store; none when there is nothing.
    pub connections: Option<Connections>,
}

/// How a process uses its connections to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At work.
    pub used: u32,
    /// Open and at rest.
    pub idle: u32,
    /// The most that may be open.
    pub max: u32,
}

/// A store of jobs.
///
/// Each call is one atomic step: it happens entirely or not at all, and once it has returned every later call on any
/// handle of the store sees it. Calls on the same job happen in some order. One job affects another only within their
/// partition; only [`claim`](Self::claim), [`redispatch`](Self::redispatch), [`prune`](Self::prune),
/// [`overview`](Self::overview) and [`suspended_partitions`](Self::suspended_partitions) look at more than one.
#[async_trait]
pub trait JobStore: fmt::Debug + Send + Sync + 'static {
    /// Stores jobs.
    ///
    /// *Contract.* One outcome per job, in order; jobs of one call see the ones before them, and one that is refused
    /// does not affect the others. A job is stored with its labels, its unmet prerequisites ([`crate::dependency`]) and
    /// one outbox entry, which is due `delay` after the last prerequisite is met, or after `now` when none is unmet. A
    /// prerequisite that completes concurrently is seen either as complete or as one that releases this job.
    ///
    /// *Errors.* Transient when the store cannot be reached; then none or all of it may have happened, and calling again
    /// is safe.
    ///
    /// *Cancel safety.* Dropping the future leaves all or nothing stored.
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>>;

    /// Reads jobs. *Contract.* One answer per key, in order; never writes; its cost does not depend on the number of
    /// jobs or subtasks.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>>;

    /// Reads statuses: what workers poll. *Contract.* As [`get`](Self::get), and cheaper.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>>;

    /// Reads a page of jobs. *Contract.* [`Selection::matches`] and [`Sort::compare`](crate::query::Sort::compare) say
    /// exactly which and in which order; `next` is `None` exactly on the last page. Jobs whose stored data make no sense are
    /// left out.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn list(&self, query: &JobQuery) -> Result<JobPage>;

    /// Counts the selected jobs by status; statuses without jobs are left out. *Contract.* Never writes.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn count(&self, partition: &PartitionId, selection: &Selection)
    -> Result<BTreeMap<JobStatus, u64>>;

    /// Applies an action to one job.
    ///
    /// *Contract.* The status follows [`transition`](crate::transition). With it, in the same step: a cancelled job
    /// loses its outbox entries and its progress, and keeps its percentage and failures; a paused job's entries are
    /// held, and a resumed job's are free; a deleted job loses everything, while jobs that wait for it go on waiting for
    /// a job of that id. A job whose stored data make no sense can be deleted, and nothing else.
    ///
    /// A redispatch changes nothing that the job shows. As [`JobState::redispatch`](crate::recording::JobState::redispatch)
    /// says, the first task message of a job that was dispatched is an outbox entry again, due at once and held while
    /// the job is paused, with the content it had the first time; so is its id. For that the task is kept until the job is
    /// completed or cancelled. A job whose first message is in the outbox is left alone; kept messages of a paused job
    /// do not count, since they need not be its first. A suspension that the job was
    /// [accepted with](AcceptedJob::suspended) had ended when the message was first taken, and does not come back.
    ///
    /// *Errors.* Transient when the store cannot be reached; calling again is safe. *Cancel safety.* As
    /// [`create`](Self::create).
    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome>;

    /// Applies an action to selected jobs, in id order, beginning behind `after`, visiting at most `limit` selected jobs.
    ///
    /// *Contract.* Each job as [`act`](Self::act) does; a job to which the action cannot be applied is passed over.
    /// `changed` counts the jobs that changed. Following `next` to its end visits every job that is selected throughout.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* As [`create`](Self::create).
    async fn act_on_selected(
        &self,
        partition: &PartitionId,
        selection: &Selection,
        action: Action,
        after: Option<&JobId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<BulkOutcome>;

    /// Redispatches unfinished jobs of every partition, in the order of partition and id, beginning behind `after`,
    /// visiting at most `limit` of them.
    ///
    /// *Contract.* Each job as [`act`](Self::act) does; one that cannot be redispatched is passed over. Following `next`
    /// to its end visits every job that is unfinished throughout.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* As [`create`](Self::create).
    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep>;

    /// Records reports.
    ///
    /// *Contract.* [`recording::record`](crate::recording::record) says what they do to each job. In the same step: the
    /// dependents of a job that completes lose that prerequisite, and those without another become due after their
    /// delay; the dependents of a job that fails fail with it, transitively and with its failure as their root cause
    /// ([`Failure::caused_by`]); a job that completes or is cancelled drops its progress; one that completes or fails
    /// drops its outbox entries. Recording the same reports again changes nothing, and a report about an unknown or
    /// finished job changes nothing. A job whose stored data make no sense does not keep the reports about others from
    /// being recorded.
    ///
    /// *Errors.* Transient when the store cannot be reached; nothing of the batch happened, or all of it, and calling
    /// again is safe. *Cancel safety.* As [`create`](Self::create).
    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded>;

    /// Takes entries that are due and not held, under a lease.
    ///
    /// *Contract.* An entry is taken by one caller at a time, until its lease ends. Entries whose job is paused, whose
    /// partition is suspended, whose prerequisites are unmet, whose delay is not over or whose retry time has not come
    /// are not taken. Partitions take turns: one with many due entries does not keep out another. Within a partition the
    /// earliest due come first. An entry that makes no sense is never returned and keeps no other from being taken.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Entries taken by a dropped call come back
    /// when their lease ends.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed>;

    /// Ends leases.
    ///
    /// *Contract.* One answer per entry, in order: whether it was still leased to `owner`. An entry that is not, because
    /// its lease ended and somebody else took it, or because its job was cancelled or deleted, is left alone — but a
    /// message that was published marks its job as dispatched in any case, if the job is still that one.
    ///
    /// *Errors.* Transient when the store cannot be reached; calling again is safe. *Cancel safety.* As
    /// [`create`](Self::create).
    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>>;

    /// Keeps messages of paused jobs.
    ///
    /// *Contract.* One outcome per message, in order. A kept message becomes an outbox entry that is held while the job
    /// is paused and due at once otherwise. A job whose stored data make no sense does not keep the messages of others
    /// from being kept.
    ///
    /// *Errors.* Transient when the store cannot be reached; calling again may keep a message twice.
    /// *Cancel safety.* As [`create`](Self::create).
    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>>;

    /// Reads one level of a job's progress tree: the children of `parent` numbered higher than `after`, ascending.
    /// `None` when there is no such job. A completed or cancelled job has no tree any more.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>>;

    /// Reads failures of a job in order of arrival, each with its place in that order and its task, beginning behind the
    /// place `after`. Failures that came from a prerequisite have the job's own path.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>>;

    /// Reads who waits for jobs: for each of `prerequisites`, in order, at most `limit` jobs that have it unmet, in id order,
    /// whether a job of that id exists or not.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>>;

    /// Suspends a partition or resumes it, whether it has jobs or not.
    ///
    /// *Contract.* [`claim`](Self::claim) takes nothing of a suspended partition; everything else about its jobs goes on.
    /// What was taken before is not called back. Doing it again changes nothing.
    ///
    /// *Errors.* Transient when the store cannot be reached; calling again is safe. *Cancel safety.* As
    /// [`create`](Self::create).
    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()>;

    /// Lists partitions that are suspended, or have messages of jobs that were accepted as suspended: at most `limit`, in
    /// id order, beginning behind `after`.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn suspended_partitions(&self, after: Option<&PartitionId>, limit: u32)
    -> Result<Vec<PartitionId>>;

    /// Removes finished jobs, oldest first, at most `limit` in one step, and returns how many; fewer than `limit` means
    /// that none is left. *Contract.* A job is removed as [`Action::Delete`] does; one that is not finished never is.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* As [`create`](Self::create).
    async fn prune(&self, request: &PruneRequest) -> Result<u64>;

    /// Recounts jobs from what is stored and reports every contradiction, corrected when asked to.
    /// *Contract.* Finds nothing in a store that only this trait has written to.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* As [`create`](Self::create).
    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>>;

    /// Reads what an operator watches. *Contract.* Never writes; its cost does not depend on the number of jobs, nor on
    /// how many of them are held back. The counts of entries and their age are exact while no more than
    /// [`OVERVIEW_ENTRIES_MAX`] entries are due, and no more than that on lease or to be tried again; beyond, they are of
    /// a part. Jobs whose status makes no sense are left out.
    ///
    /// *Errors.* Transient when the store cannot be reached. *Cancel safety.* Safe.
    async fn overview(&self, now: Timestamp) -> Result<Overview>;

    /// Whether the store can be reached now.
    ///
    /// *Errors.* Transient, with the reason, when it cannot. *Cancel safety.* Safe.
    async fn ping(&self) -> Result<()>;
}
