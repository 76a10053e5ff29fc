//! A [`JobStore`] in the memory of the process: for tests, examples and the embedded default.
//!
//! Everything lives under one mutex, which is never held across an await, so that each call is one atomic step. The
//! layout is partition first: a partition has its jobs by id, and beside them the orders in which they are read (by
//! creation, by end) and who waits for whom. Only the outbox spans partitions.
//!
//! Nothing is kept when the process ends.
//!
//! ```
//! use std::sync::Arc;
//! use job_core::store::JobStore;
//! use job_store_memory::MemoryStore;
//!
//! let store: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
//! # let _ = store;
//! ```

mod actions;
mod create;
mod dispatch;
mod failures;
mod list;
mod outbox;
mod partition;
mod prune;
mod redispatch;
mod reports;
mod state;
mod stored_job;
mod verify;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::store::{
    Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore, LeaseOwner,
    Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage, Suspension,
    TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Error, ErrorKind, Failure, Job, JobId, JobKey, JobStatus, PartitionId, Result, TaskPath,
    Timestamp,
};

use state::State;

/// A store that forgets everything when it is dropped.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call that panicked may have left half a step behind, so nobody may look any more.
    fn lock(&self) -> Result<MutexGuard<'_, State>> {
        self.state.lock().map_err(|_| {
            Error::new(ErrorKind::Internal, "an earlier call left the store in an unknown state")
        })
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").finish_non_exhaustive()
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        let mut state = self.lock()?;
        Ok(jobs.into_iter().map(|job| state.create(job, now)).collect())
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        let state = self.lock()?;
        Ok(keys.iter().map(|key| state.read(key)).collect())
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        let state = self.lock()?;
        Ok(keys.iter().map(|key| state.job(key).map(|job| job.shown.status)).collect())
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        Ok(self.lock()?.list(query))
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        Ok(self.lock()?.count(partition, selection))
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        Ok(self.lock()?.act(job, action, now))
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
        Ok(self.lock()?.act_on_selected(partition, selection, action, after, limit, now))
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        Ok(self.lock()?.redispatch_unfinished(after, limit, now))
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        Ok(self.lock()?.record(reports, now))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        Ok(self.lock()?.outbox.claim(&request))
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        let mut state = self.lock()?;
        Ok(entries.into_iter().map(|(id, settled)| state.settle(owner, id, settled, now)).collect())
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        let mut state = self.lock()?;
        Ok(messages.into_iter().map(|message| state.stow(message, now)).collect())
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        Ok(self.lock()?.job(job).map(|stored| stored.tasks(parent, after, limit)))
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        let state = self.lock()?;
        Ok(state.job(job).map_or_else(Vec::new, |stored| stored.failures.page(after, limit as usize)))
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        let state = self.lock()?;
        let partition = state.partitions.get(partition);
        let of = |id| partition.map_or_else(Vec::new, |partition| partition.dependents_of(id));
        let first = |id| of(id).into_iter().take(limit as usize).collect();
        Ok(prerequisites.iter().map(first).collect())
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.lock()?.outbox.suspend(partition, suspension);
        Ok(())
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        Ok(self.lock()?.outbox.suspended_partitions(after, limit))
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        Ok(self.lock()?.prune(request))
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        Ok(self.lock()?.verify(request))
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        Ok(self.lock()?.overview(now))
    }

    async fn ping(&self) -> Result<()> {
        self.lock().map(drop)
    }
}
