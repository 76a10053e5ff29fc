//! The use cases of a client: what the REST handlers call and what an application links.

mod announcement;
mod live_jobs;
mod typed;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use live_jobs::LiveJobs;
use tokio::sync::Semaphore;

use crate::clock::{Clock, ClockExt, IdSource, RandomIds, SystemClock, Timestamp};
use crate::dependency::{self, CycleError};
use crate::error::{Error, ErrorKind, Result};
use crate::fingerprint::Fingerprint;
use crate::graph::{self, DependencyGraph};
use crate::group_commit::GroupCommit;
use crate::id::{JobId, JobKey, PartitionId, TaskPath};
use crate::job::{AcceptedJob, Failure, Job, NewJob};
use crate::job_type::JobTypes;
use crate::lifecycle::JobStatus;
use crate::progress::TaskProgress;
use crate::query::{Cursor, JobPage, JobQuery, PAGE_SIZE_MAX, Selection, SortValue};
use crate::signals::Signals;
use crate::store::{
    Action, ActionOutcome, CreateOutcome, Drift, JobStore, PruneRequest, Suspension, VerifyRequest,
};

/// Jobs that a bulk action visits in one step, unless it was told otherwise.
const BULK_STEP_DEFAULT: u32 = 100;

/// How many jobs one step of redispatching visits.
const REDISPATCH_STEP: u32 = 1_000;

/// Whether a create made a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Created {
    /// It did.
    New,
    /// The same request was accepted before; nothing changed.
    Repeat,
}

/// Limits on what one job may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobLimits {
    /// Prerequisites of one job.
    pub prerequisites_max: usize,
    /// Labels of one job.
    pub labels_max: usize,
    /// Bytes of task data. As Base64 in a message it must fit the largest message a broker takes (16 MiB).
    pub task_data_bytes_max: usize,
}

impl Default for JobLimits {
    fn default() -> Self {
        Self { prerequisites_max: 1_000, labels_max: 128, task_data_bytes_max: 12_000_000 }
    }
}

/// Decides which partitions' jobs are accepted but held.
pub type SuspendedPartitions = Arc<dyn Fn(&PartitionId) -> bool + Send + Sync>;

/// The engine as its clients see it. Cheap to clone; clones are the same engine.
///
/// Every method is one step of the [`JobStore`]; its errors pass through. The messages of the errors this type makes
/// itself are the REST contract's.
#[derive(Clone)]
pub struct JobService {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    signals: Signals,
    limits: JobLimits,
    bulk_steps: HashMap<Action, u32>,
    suspended: SuspendedPartitions,
    live_jobs: Option<Arc<LiveJobs>>,
    creates: GroupCommit,
    job_types: JobTypes,
    /// As many scripts at once as there are processors: more would only wait for each other.
    scripts: Arc<Semaphore>,
    resume_queue: Option<String>,
}

impl std::fmt::Debug for JobService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobService").field("store", &self.store).finish_non_exhaustive()
    }
}

impl JobService {
    /// On `store`, with the system's clock and random ids.
    #[must_use]
    pub fn new(store: Arc<dyn JobStore>) -> Self {
        Self {
            store,
            clock: Arc::new(SystemClock::new()),
            ids: Arc::new(RandomIds),
            signals: Signals::default(),
            limits: JobLimits::default(),
            bulk_steps: HashMap::new(),
            suspended: Arc::new(|_| false),
            live_jobs: None,
            creates: GroupCommit::default(),
            job_types: JobTypes::default(),
            scripts: Arc::new(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from))),
            resume_queue: None,
        }
    }

    /// Reads the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes new ids from `ids`.
    #[must_use]
    pub fn with_ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// Shares wake-ups with a dispatcher and a tracker of the same process.
    #[must_use]
    pub fn with_signals(mut self, signals: Signals) -> Self {
        self.signals = signals;
        self
    }

    /// Refuses jobs beyond these limits.
    #[must_use]
    pub fn with_limits(mut self, limits: JobLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How many jobs `action`, done in bulk, visits in one step of the store; at least 1, by default 100.
    #[must_use]
    pub fn with_bulk_step(mut self, action: Action, jobs: u32) -> Self {
        self.bulk_steps.insert(action, jobs.max(1));
        self
    }

    /// Holds the jobs of these partitions.
    #[must_use]
    pub fn with_suspended_partitions(mut self, suspended: SuspendedPartitions) -> Self {
        self.suspended = suspended;
        self
    }

    /// Refuses new jobs of a partition that has so many live ones, those whose status is not
    /// [finished](JobStatus::is_finished), whether held or not. 0, the default, is no limit: whoever embeds the engine decides
    /// how many jobs there are.
    ///
    /// One service keeps to the limit; several on one store exceed it by what the others create in a second, and so does one
    /// whose store could not be asked. Jobs that finish make room within a second.
    #[must_use]
    pub fn with_live_jobs_max(mut self, max: u64) -> Self {
        self.live_jobs = (max > 0).then(|| Arc::new(LiveJobs::new(max)));
        self
    }

    /// Knows these job types.
    #[must_use]
    pub fn with_job_types(mut self, job_types: JobTypes) -> Self {
        self.job_types = job_types;
        self
    }

    /// The job types that jobs can be made of.
    #[must_use]
    pub fn job_types(&self) -> &JobTypes {
        &self.job_types
    }

    /// Announces every resumed job on this queue too (`CAF_JOB_SERVICE_RESUME_JOB_QUEUE`), for deployments whose
    /// workers stow elsewhere. A bulk resume announces nothing.
    #[must_use]
    pub fn with_resume_queue(mut self, queue: impl Into<String>) -> Self {
        self.resume_queue = Some(queue.into());
        self
    }

    /// The store behind this service.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn JobStore> {
        &self.store
    }

    /// The wake-ups this service sends.
    #[must_use]
    pub fn signals(&self) -> &Signals {
        &self.signals
    }

    /// The clock this service reads.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Creates a job; a repeat of the same request changes nothing. Calls at the same time share a step of the store, and
    /// each returns after its own.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when a field, a prerequisite or a cycle of prerequisites is wrong;
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when a different job has this id;
    /// [`LimitReached`](ErrorKind::LimitReached) when the partition has [all the live jobs](Self::with_live_jobs_max) it may
    /// have, unless a job of this id is among its jobs.
    pub async fn create(&self, job: NewJob) -> Result<Created> {
        let accepted = self.accept(job)?;
        let key = accepted.job.key.clone();
        let place = self.places(std::slice::from_ref(&key)).await.pop().expect("one place per job")?;
        let outcome = self.creates.create(&self.store, &self.clock, &self.signals, accepted).await?;
        place.settle(&outcome);
        created(&key, outcome)
    }

    /// Creates many jobs in one step; each succeeds or fails by itself, and later ones may wait for earlier ones.
    ///
    /// # Errors
    /// Only the store's; then none or all were created, and repeating the call is safe.
    pub async fn create_all(&self, jobs: Vec<NewJob>) -> Result<Vec<Result<Created>>> {
        let checked: Vec<Result<AcceptedJob>> = jobs.into_iter().map(|job| self.accept(job)).collect();
        let keys: Vec<JobKey> = checked.iter().flatten().map(|accepted| accepted.job.key.clone()).collect();
        let mut places = self.places(&keys).await.into_iter();
        let mut answers: Vec<Option<Result<Created>>> = Vec::with_capacity(checked.len());
        let (mut accepted, mut placed) = (Vec::new(), Vec::new());
        for job in checked {
            let admitted = job.and_then(|job| Ok((places.next().expect("one place per accepted job")?, job)));
            match admitted {
                Ok((place, job)) => {
                    answers.push(None);
                    placed.push((job.job.key.clone(), place));
                    accepted.push(job);
                }
                Err(error) => answers.push(Some(Err(error))),
            }
        }
        let outcomes = if accepted.is_empty() {
            Vec::new()
        } else {
            self.store.create(accepted, self.clock.now()).await?
        };
        if outcomes.contains(&CreateOutcome::Created) {
            self.signals.wake_dispatcher();
        }
        let mut stored = placed.into_iter().zip(outcomes).map(|((key, place), outcome)| {
            place.settle(&outcome);
            created(&key, outcome)
        });
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| stored.next().expect("one outcome per accepted job")))
            .collect())
    }

    fn accept(&self, mut job: NewJob) -> Result<AcceptedJob> {
        job.validate()?;
        let limits = &self.limits;
        for (what, count, max) in [
            ("prerequisiteJobIds", job.prerequisites.len(), limits.prerequisites_max),
            ("labels", job.labels.len(), limits.labels_max),
            ("the bytes of task.taskData", job.task.data.len(), limits.task_data_bytes_max),
        ] {
            if count > max {
                return Err(Error::invalid(format!("{what}: {count} are given, at most {max} are allowed")));
            }
        }
        let fingerprint = job.fingerprint.unwrap_or_else(|| Fingerprint::of_job(&job));
        job.parameters = None;
        job.prerequisites = dependency::without_repeats(std::mem::take(&mut job.prerequisites));
        if job.prerequisites.iter().any(|prerequisite| prerequisite.job == job.key.job) {
            let id = &job.key.job;
            let cycle = CycleError::Cycle(vec![id.clone(), id.clone()]);
            return Err(Error::invalid(cycle.to_string()));
        }
        let suspended = (self.suspended)(&job.key.partition);
        Ok(AcceptedJob { fingerprint, task_id: self.ids.next(), suspended, job })
    }

    /// Reads a job.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn get(&self, key: &JobKey) -> Result<Job> {
        let job = self.store.get(std::slice::from_ref(key)).await?.pop().flatten();
        job.ok_or_else(|| not_found(key))
    }

    /// Reads a page of jobs. A limit beyond [`PAGE_SIZE_MAX`] is an error.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for a wrong limit.
    pub async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        if query.limit == 0 || query.limit > PAGE_SIZE_MAX {
            return Err(Error::invalid(format!("limit is {}: expected 1 to {PAGE_SIZE_MAX}", query.limit)));
        }
        match &query.after {
            Some(cursor) if cursor.is_cut => {
                let after = Some(self.whole(query, cursor).await?);
                self.store.list(&JobQuery { after, ..query.clone() }).await
            }
            _ => self.store.list(query).await,
        }
    }

    /// The place of a job of which the cursor has only the beginning of its text.
    async fn whole(&self, query: &JobQuery, cursor: &Cursor) -> Result<Cursor> {
        let key = JobKey::new(query.partition.clone(), cursor.job.clone());
        let job = self.store.get(&[key]).await?.pop().flatten();
        let is_meant = |whole: &Cursor| match (&whole.value, &cursor.value) {
            (SortValue::Text(whole), SortValue::Text(beginning)) => whole.starts_with(beginning.as_str()),
            _ => false,
        };
        Ok(job.map(|job| query.sort.cursor(&job)).filter(is_meant).unwrap_or_else(|| cursor.clone()))
    }

    /// Counts jobs by status.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.store.count(partition, selection).await
    }

    /// Reads a job's status.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn status(&self, key: &JobKey) -> Result<JobStatus> {
        self.status_if_any(key).await?.ok_or_else(|| not_found(key))
    }

    /// Whether workers should run the job's tasks now; a job that does not exist is not active.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn is_active(&self, key: &JobKey) -> Result<bool> {
        Ok(self.status_if_any(key).await?.is_some_and(JobStatus::is_active))
    }

    async fn status_if_any(&self, key: &JobKey) -> Result<Option<JobStatus>> {
        Ok(self.store.statuses(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// Applies an action to a job; answers whether it changed anything.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound); [`IllegalTransition`](ErrorKind::IllegalTransition) when the job's status does
    /// not allow the action.
    pub async fn act(&self, key: &JobKey, action: Action) -> Result<bool> {
        if let (Action::Resume, Some(queue)) = (action, &self.resume_queue) {
            self.announce_resume(key, queue).await?;
        }
        match self.store.act(key, action, self.clock.now()).await? {
            ActionOutcome::Applied => {
                match action {
                    Action::Resume | Action::Redispatch => self.signals.wake_dispatcher(),
                    Action::Cancel | Action::Delete => self.signals.job_withdrawn(key),
                    Action::Pause => {}
                }
                Ok(true)
            }
            ActionOutcome::Unchanged => Ok(false),
            ActionOutcome::NotFound => Err(not_found(key)),
            ActionOutcome::Refused(refusal) => {
                Err(Error::new(ErrorKind::IllegalTransition, refusal.message(key.job.as_str())))
            }
        }
    }

    /// Applies an action to every selected job whose status allows it; answers how many changed.
    ///
    /// Runs in steps: jobs that begin to be selected meanwhile may be missed.
    ///
    /// # Errors
    /// Only the store's; then earlier steps stay done, and calling again goes on.
    pub async fn act_on_selected(
        &self,
        partition: &PartitionId,
        selection: &Selection,
        action: Action,
    ) -> Result<u64> {
        self.act_on_selected_in_steps(partition, selection, action, || {}).await
    }

    /// As [`act_on_selected`](Self::act_on_selected), and calls `stepped` after each of its steps, so that its caller can
    /// tell long work from a store that does not answer.
    ///
    /// # Errors
    /// The same.
    pub async fn act_on_selected_in_steps(
        &self,
        partition: &PartitionId,
        selection: &Selection,
        action: Action,
        stepped: impl Fn() + Send + Sync,
    ) -> Result<u64> {
        let limit = self.bulk_steps.get(&action).copied().unwrap_or(BULK_STEP_DEFAULT);
        let mut changed = 0;
        let mut after: Option<JobId> = None;
        loop {
            let now = self.clock.now();
            let step =
                self.store.act_on_selected(partition, selection, action, after.as_ref(), limit, now).await?;
            changed += step.changed;
            stepped();
            if step.next.is_none() {
                break;
            }
            after = step.next;
        }
        if matches!(action, Action::Resume | Action::Redispatch) && changed > 0 {
            self.signals.wake_dispatcher();
        }
        Ok(changed)
    }

    /// Publishes the first task message of every unfinished job of every partition once more, except those that are yet to
    /// be published: for a queue that lost its messages. What was recorded stays; subtasks that are done again count
    /// once. Answers how many.
    ///
    /// # Errors
    /// Only the store's; then earlier steps stay done, and calling again goes on.
    pub async fn redispatch_unfinished(&self) -> Result<u64> {
        let mut redispatched = 0;
        let mut after: Option<JobKey> = None;
        loop {
            let step = self.store.redispatch(after.as_ref(), REDISPATCH_STEP, self.clock.now()).await?;
            redispatched += step.redispatched;
            if step.redispatched > 0 {
                self.signals.wake_dispatcher();
            }
            if step.next.is_none() {
                return Ok(redispatched);
            }
            after = step.next;
        }
    }

    /// Waits until the job is completed, failed, cancelled or deleted, at most `limit`; answers with the job as it then
    /// is.
    ///
    /// Cancel safe. Within the process of the tracker it learns of it at once, otherwise within `poll`.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no such job, or no longer.
    pub async fn wait(&self, key: &JobKey, limit: Duration, poll: Duration) -> Result<Job> {
        let deadline = self.clock.now().saturating_add(limit);
        let mut finished = self.signals.finished_jobs();
        loop {
            let status = self.status(key).await?;
            let left = deadline.since(self.clock.now());
            if status.is_finished() || left.is_zero() {
                return self.get(key).await;
            }
            let signal = async {
                // Lagging and closing both mean: look again.
                while finished.recv().await.is_ok_and(|job| job != *key) {}
            };
            let _ = self.clock.timeout(left.min(poll), signal).await;
        }
    }

    /// Reads one level of a job's progress tree.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn tasks(
        &self,
        key: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Vec<TaskProgress>> {
        self.store.tasks(key, parent, after, limit).await?.ok_or_else(|| not_found(key))
    }

    /// Reads failures of a job in order of arrival.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn failures(
        &self,
        key: &JobKey,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.status(key).await?;
        self.store.failures(key, after, limit).await
    }

    /// What a job waits for and what waits for it, directly or through others: the nearest `nodes_max` jobs.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound).
    pub async fn dependency_graph(&self, key: &JobKey, nodes_max: usize) -> Result<DependencyGraph> {
        let root = self.get(key).await?;
        graph::around(&*self.store, &root, nodes_max).await
    }

    /// Holds back the messages of a partition's jobs, those created later included, until it is
    /// [resumed](Self::resume_partition). What is on its way to a queue arrives there.
    ///
    /// # Errors
    /// Only the store's; calling again is safe.
    pub async fn suspend_partition(&self, partition: &PartitionId) -> Result<()> {
        self.store.suspend(partition, Suspension::Hold).await
    }

    /// Lets the messages of a partition's jobs go on, those of jobs that were accepted as suspended included. Jobs that are
    /// created while [the configuration](Self::with_suspended_partitions) names the partition are held all the same.
    ///
    /// # Errors
    /// Only the store's; calling again is safe.
    pub async fn resume_partition(&self, partition: &PartitionId) -> Result<()> {
        self.store.suspend(partition, Suspension::Release).await?;
        self.signals.wake_dispatcher();
        Ok(())
    }

    /// Lists partitions that are suspended, in id order behind `after`.
    ///
    /// # Errors
    /// Only the store's.
    pub async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.store.suspended_partitions(after, limit).await
    }

    /// Removes finished jobs, step by step, until none is left that matches; answers how many.
    ///
    /// # Errors
    /// Only the store's; then earlier steps stay done, and calling again goes on.
    pub async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        let mut removed = 0;
        loop {
            let step = self.store.prune(request).await?;
            removed += step;
            if step < u64::from(request.limit) {
                return Ok(removed);
            }
        }
    }

    /// Recounts jobs from what is stored; see [`JobStore::verify`].
    ///
    /// # Errors
    /// Only the store's.
    pub async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        self.store.verify(request).await
    }

    /// The current time on the service's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn not_found(key: &JobKey) -> Error {
    Error::new(ErrorKind::NotFound, format!("job_id {{{}}} not found", key.job))
        .with_context("partition", key.partition.as_str())
}

fn created(key: &JobKey, outcome: CreateOutcome) -> Result<Created> {
    match outcome {
        CreateOutcome::Created => Ok(Created::New),
        CreateOutcome::Unchanged => Ok(Created::Repeat),
        CreateOutcome::Conflict => {
            Err(Error::new(ErrorKind::AlreadyExists, "Job already exists")
                .with_context("job", key.to_string()))
        }
        CreateOutcome::PrerequisitesFailed(jobs) => {
            let names: Vec<&str> = jobs.iter().map(JobId::as_str).collect();
            Err(Error::invalid(format!(
                "One or more prerequisite jobs have failed. Failed Job IDs: {}",
                names.join(", ")
            )))
        }
        CreateOutcome::Cycle(error) => Err(Error::invalid(error.to_string())),
    }
}
