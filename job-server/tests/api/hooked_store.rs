//! A store in which a test can hold up, fail or break what is done with single jobs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::store::{
    Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore, LeaseOwner,
    Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage, Suspension,
    TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Clock as _, Error, Failure, Job, JobId, JobKey, JobStatus, PartitionId, Result, SystemClock,
    TaskPath, Timestamp,
};
use job_store_memory::MemoryStore;
use tokio::sync::Semaphore;

/// What happens to reads and creates of these job ids: `held` waits for a permit of [`HookedStore::gate`], `down` fails for
/// now and `refused` for good, and `broken` panics.
pub(crate) struct HookedStore {
    inner: MemoryStore,
    pub(crate) gate: Semaphore,
    /// One permit for each read that came to the gate.
    pub(crate) arrived: Semaphore,
    /// One permit for each read that went through it.
    pub(crate) passed: Semaphore,
    pub(crate) ping_error: std::sync::atomic::AtomicBool,
    /// How many creates of ids that begin with `slow` go on at once, and how long each takes.
    slow: (Semaphore, Duration),
    /// How many jobs each create held.
    pub(crate) creates: std::sync::Mutex<Vec<usize>>,
}

impl fmt::Debug for HookedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookedStore")
    }
}

impl HookedStore {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_creates(1, Duration::ZERO)
    }

    /// Creates `places` jobs at once, each in `work`, when their ids begin with `slow`.
    pub(crate) fn with_creates(places: usize, work: Duration) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            gate: Semaphore::new(0),
            arrived: Semaphore::new(0),
            passed: Semaphore::new(0),
            ping_error: false.into(),
            slow: (Semaphore::new(places), work),
            creates: std::sync::Mutex::default(),
        })
    }

    async fn hook(&self, id: &str) -> Result<()> {
        match id {
            "held" => {
                self.arrived.add_permits(1);
                self.gate.acquire().await.unwrap().forget();
                self.passed.add_permits(1);
                Ok(())
            }
            "down" => Err(Error::unavailable("the store cannot be reached")
                .with_source("connection refused by 10.0.0.1")),
            "refused" => Err(Error::new(job_core::ErrorKind::Internal, "the store cannot keep this")),
            "broken" => panic!("a defect with a secret"),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl JobStore for HookedStore {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        self.creates.lock().unwrap().push(jobs.len());
        for job in &jobs {
            self.hook(job.job.key.job.as_str()).await?;
        }
        let slow = jobs.iter().filter(|job| job.job.key.job.as_str().starts_with("slow"));
        futures::future::join_all(slow.map(|_| async {
            let _place = self.slow.0.acquire().await.unwrap();
            SystemClock::new().sleep(self.slow.1).await;
        }))
        .await;
        self.inner.create(jobs, now).await
    }
    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        for key in keys {
            self.hook(key.job.as_str()).await?;
        }
        self.inner.get(keys).await
    }
    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
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
        if partition.as_str() == "slow" {
            // Of many steps each comes to the gate.
            self.hook("held").await?;
        }
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
        self.ping().await?;
        self.inner.overview(now).await
    }
    async fn ping(&self) -> Result<()> {
        if self.ping_error.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(Error::unavailable("the store cannot be reached"));
        }
        self.inner.ping().await
    }
}
