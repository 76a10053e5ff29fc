//! A store in front of another.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::store::{
    Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore, LeaseOwner,
    Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage, Suspension,
    TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Failure, Job, JobId, JobKey, JobStatus, PartitionId, Result, TaskPath, Timestamp,
};

/// A call of a store, as far as hooks ask what it is about.
#[derive(Debug, Clone, Copy)]
pub enum Call<'a> {
    /// [`JobStore::create`].
    Create(&'a [AcceptedJob]),
    /// [`JobStore::get`].
    Get(&'a [JobKey]),
    /// [`JobStore::statuses`].
    Statuses(&'a [JobKey]),
    /// [`JobStore::count`].
    Count(&'a PartitionId),
    /// [`JobStore::act_on_selected`].
    ActOnSelected(&'a PartitionId),
    /// [`JobStore::overview`].
    Overview,
    /// [`JobStore::ping`].
    Ping,
    /// Any other.
    Other,
}

/// What a test does before a call reaches the store: count it, hold it up, or refuse it.
#[async_trait]
pub trait StoreHook: Send + Sync + 'static {
    /// The call goes on when this completes, unless with an error, which is the call's.
    async fn before(&self, call: Call<'_>) -> Result<()>;

    /// Which entries a [`JobStore::settle`] has settled, now that it is done.
    fn settled(&self, _settled: &[bool]) {}
}

/// Lets every call through at once.
#[async_trait]
impl StoreHook for () {
    async fn before(&self, _: Call<'_>) -> Result<()> {
        Ok(())
    }
}

/// Passes every call on to another store, after its hook. It dereferences to the hook, for what tests keep there.
pub struct ForwardingStore<H> {
    inner: Arc<dyn JobStore>,
    hook: H,
}

impl<H: StoreHook> ForwardingStore<H> {
    /// In front of `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn JobStore>, hook: H) -> Self {
        Self { inner, hook }
    }
}

impl<H> Deref for ForwardingStore<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.hook
    }
}

impl<H> fmt::Debug for ForwardingStore<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardingStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<H: StoreHook> JobStore for ForwardingStore<H> {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        self.hook.before(Call::Create(&jobs)).await?;
        self.inner.create(jobs, now).await
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        self.hook.before(Call::Get(keys)).await?;
        self.inner.get(keys).await
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        self.hook.before(Call::Statuses(keys)).await?;
        self.inner.statuses(keys).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        self.hook.before(Call::Other).await?;
        self.inner.list(query).await
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.hook.before(Call::Count(partition)).await?;
        self.inner.count(partition, selection).await
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        self.hook.before(Call::Other).await?;
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
        self.hook.before(Call::ActOnSelected(partition)).await?;
        self.inner.act_on_selected(partition, selection, action, after, limit, now).await
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        self.hook.before(Call::Other).await?;
        self.inner.redispatch(after, limit, now).await
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        self.hook.before(Call::Other).await?;
        self.inner.record(reports, now).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.hook.before(Call::Other).await?;
        self.inner.claim(request).await
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        self.hook.before(Call::Other).await?;
        let settled = self.inner.settle(owner, entries, now).await?;
        self.hook.settled(&settled);
        Ok(settled)
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        self.hook.before(Call::Other).await?;
        self.inner.stow(messages, now).await
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        self.hook.before(Call::Other).await?;
        self.inner.tasks(job, parent, after, limit).await
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.hook.before(Call::Other).await?;
        self.inner.failures(job, after, limit).await
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        self.hook.before(Call::Other).await?;
        self.inner.dependents(partition, prerequisites, limit).await
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.hook.before(Call::Other).await?;
        self.inner.suspend(partition, suspension).await
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.hook.before(Call::Other).await?;
        self.inner.suspended_partitions(after, limit).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        self.hook.before(Call::Other).await?;
        self.inner.prune(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        self.hook.before(Call::Other).await?;
        self.inner.verify(request).await
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        self.hook.before(Call::Overview).await?;
        self.inner.overview(now).await
    }

    async fn ping(&self) -> Result<()> {
        self.hook.before(Call::Ping).await?;
        self.inner.ping().await
    }
}
