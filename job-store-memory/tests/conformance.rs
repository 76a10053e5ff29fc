//! The store suite, on the store itself and through what may stand in front of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_conformance::store::StoreHarness;
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
use job_store_memory::MemoryStore;

struct Direct;

impl StoreHarness for Direct {
    type Guard = ();

    async fn start() -> (Arc<dyn JobStore>, ()) {
        (Arc::new(MemoryStore::new()), ())
    }
}

/// Behind another store, as an application may put one, to prove that the trait needs nothing but itself.
struct Forwarded;

impl StoreHarness for Forwarded {
    type Guard = ();

    async fn start() -> (Arc<dyn JobStore>, ()) {
        (Arc::new(Forwarding(Arc::new(MemoryStore::new()))), ())
    }
}

/// Answers late, so that calls made at the same time mix.
struct Hesitant;

impl StoreHarness for Hesitant {
    type Guard = ();

    async fn start() -> (Arc<dyn JobStore>, ()) {
        let faults = StoreFaults { delay: 500, ..StoreFaults::default() };
        (Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), faults, 1)), ())
    }
}

mod direct {
    use super::Direct;

    job_conformance::store_suite!(Direct);
}

mod forwarded {
    use super::Forwarded;

    job_conformance::store_suite!(Forwarded);
}

mod hesitant {
    use super::Hesitant;

    job_conformance::store_suite!(Hesitant);
}

#[derive(Debug)]
struct Forwarding(Arc<dyn JobStore>);

#[async_trait]
impl JobStore for Forwarding {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        self.0.create(jobs, now).await
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        self.0.get(keys).await
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        self.0.statuses(keys).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        self.0.list(query).await
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.0.count(partition, selection).await
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        self.0.act(job, action, now).await
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
        self.0.act_on_selected(partition, selection, action, after, limit, now).await
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        self.0.redispatch(after, limit, now).await
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        self.0.record(reports, now).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.0.claim(request).await
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        self.0.settle(owner, entries, now).await
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        self.0.stow(messages, now).await
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        self.0.tasks(job, parent, after, limit).await
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.0.failures(job, after, limit).await
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        self.0.dependents(partition, prerequisites, limit).await
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.0.suspend(partition, suspension).await
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.0.suspended_partitions(after, limit).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        self.0.prune(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        self.0.verify(request).await
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        self.0.overview(now).await
    }

    async fn ping(&self) -> Result<()> {
        self.0.ping().await
    }
}
