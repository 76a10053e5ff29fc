//! A store in memory that says how often it was asked for counts and statuses, and can be held up or fail when it is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::store::{
    Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore, LeaseOwner,
    Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage, Suspension,
    TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Error, Failure, Job, JobId, JobKey, JobStatus, PartitionId, Result, TaskPath, Timestamp,
};
use job_store_memory::MemoryStore;
use tokio::sync::Semaphore;

pub(crate) struct WatchedStore {
    inner: MemoryStore,
    pub(crate) counts: AtomicUsize,
    pub(crate) statuses: AtomicUsize,
    /// Whether counting, and reading statuses, fails.
    pub(crate) is_silent: AtomicBool,
    /// What a count needs a permit of.
    pub(crate) gate: Semaphore,
}

impl fmt::Debug for WatchedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchedStore")
    }
}

impl WatchedStore {
    /// Each count takes one of `permits`.
    pub(crate) fn with_permits(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            counts: AtomicUsize::new(0),
            statuses: AtomicUsize::new(0),
            is_silent: AtomicBool::new(false),
            gate: Semaphore::new(permits),
        })
    }

    pub(crate) fn counts(&self) -> usize {
        self.counts.load(Ordering::SeqCst)
    }

    fn answers(&self) -> Result<()> {
        if self.is_silent.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the store cannot be reached"));
        }
        Ok(())
    }
}

#[async_trait]
impl JobStore for WatchedStore {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        self.inner.create(jobs, now).await
    }
    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        self.inner.get(keys).await
    }
    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        self.statuses.fetch_add(1, Ordering::SeqCst);
        self.answers()?;
        self.inner.statuses(keys).await
    }
    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        self.inner.list(query).await
    }
    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.counts.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.answers()?;
        self.inner.count(partition, selection).await
    }
    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        self.inner.act(job, action, now).await
    }
    async fn act_on_selected(
        &self,
        partition: &PartitionId,
        selection: &Selection,
        action: Action,
        after: Option<&JobId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<BulkOutcome> {
        self.inner.act_on_selected(partition, selection, action, after, limit, now).await
    }
    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        self.inner.redispatch(after, limit, now).await
    }
    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        self.inner.record(reports, now).await
    }
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.inner.claim(request).await
    }
    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        self.inner.settle(owner, entries, now).await
    }
    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        self.inner.stow(messages, now).await
    }
    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        self.inner.tasks(job, parent, after, limit).await
    }
    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.inner.failures(job, after, limit).await
    }
    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        self.inner.dependents(partition, prerequisites, limit).await
    }
    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.inner.suspend(partition, suspension).await
    }
    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.inner.suspended_partitions(after, limit).await
    }
    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        self.inner.prune(request).await
    }
    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        self.inner.verify(request).await
    }
    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        self.inner.overview(now).await
    }
    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }
}
