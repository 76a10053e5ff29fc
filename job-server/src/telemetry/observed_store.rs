//! A store whose calls are measured.

use std::collections::BTreeMap;
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

use super::timed::{Names, timed};

const NAMES: Names = Names {
    backend: "store",
    durations: "job_service_store_call_duration_seconds",
    errors: "job_service_store_call_errors_total",
};

/// Hands every call on and measures it.
#[derive(Debug)]
pub(crate) struct ObservedStore(pub(crate) Arc<dyn JobStore>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl JobStore for ObservedStore {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        timed(NAMES, "create", self.0.create(jobs, now)).await
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        timed(NAMES, "get", self.0.get(keys)).await
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        timed(NAMES, "statuses", self.0.statuses(keys)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        timed(NAMES, "list", self.0.list(query)).await
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        timed(NAMES, "count", self.0.count(partition, selection)).await
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        timed(NAMES, "act", self.0.act(job, action, now)).await
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
        let call = self.0.act_on_selected(partition, selection, action, after, limit, now);
        timed(NAMES, "act_on_selected", call).await
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        timed(NAMES, "redispatch", self.0.redispatch(after, limit, now)).await
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        timed(NAMES, "record", self.0.record(reports, now)).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        timed(NAMES, "claim", self.0.claim(request)).await
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        timed(NAMES, "settle", self.0.settle(owner, entries, now)).await
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        timed(NAMES, "stow", self.0.stow(messages, now)).await
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        timed(NAMES, "tasks", self.0.tasks(job, parent, after, limit)).await
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        timed(NAMES, "failures", self.0.failures(job, after, limit)).await
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        timed(NAMES, "dependents", self.0.dependents(partition, prerequisites, limit)).await
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        timed(NAMES, "suspend", self.0.suspend(partition, suspension)).await
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        timed(NAMES, "suspended_partitions", self.0.suspended_partitions(after, limit)).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        timed(NAMES, "prune", self.0.prune(request)).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        timed(NAMES, "verify", self.0.verify(request)).await
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        timed(NAMES, "overview", self.0.overview(now)).await
    }

    async fn ping(&self) -> Result<()> {
        timed(NAMES, "ping", self.0.ping()).await
    }
}
