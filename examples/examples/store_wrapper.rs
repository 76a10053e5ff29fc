//! A store of one's own, the cheap way: wrap one that is right.
//!
//! `CountingStore` counts the calls of each method and hands them on. The lint below makes the compiler's help complete:
//! when the trait gets a method, this file says that it does not count it.
#![expect(clippy::print_stdout, reason = "an example prints what happens")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::store::{
    Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore, LeaseOwner,
    Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage, Suspension,
    TaskReport, VerifyRequest,
};
use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use job_core::{
    AcceptedJob, Engine, EngineSettings, Failure, Job, JobId, JobKey, JobStatus, NewJob, PartitionId, Result,
    TaskPath, TaskSpec, Timestamp,
};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;

/// Counts calls by the name of the method.
#[derive(Debug)]
struct CountingStore<S> {
    inner: S,
    calls: Mutex<BTreeMap<&'static str, u64>>,
}

impl<S> CountingStore<S> {
    fn new(inner: S) -> Self {
        Self { inner, calls: Mutex::default() }
    }

    fn counted(&self, method: &'static str) -> &S {
        *self.calls.lock().expect("counting does not panic").entry(method).or_default() += 1;
        &self.inner
    }

    fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.calls.lock().expect("counting does not panic").clone()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: JobStore> JobStore for CountingStore<S> {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        self.counted("create").create(jobs, now).await
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        self.counted("get").get(keys).await
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        self.counted("statuses").statuses(keys).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        self.counted("list").list(query).await
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.counted("count").count(partition, selection).await
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        self.counted("act").act(job, action, now).await
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
        self.counted("act_on_selected").act_on_selected(partition, selection, action, after, limit, now).await
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        self.counted("redispatch").redispatch(after, limit, now).await
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        self.counted("record").record(reports, now).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.counted("claim").claim(request).await
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        self.counted("settle").settle(owner, entries, now).await
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        self.counted("stow").stow(messages, now).await
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        self.counted("tasks").tasks(job, parent, after, limit).await
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.counted("failures").failures(job, after, limit).await
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        self.counted("dependents").dependents(partition, prerequisites, limit).await
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.counted("suspend").suspend(partition, suspension).await
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.counted("suspended_partitions").suspended_partitions(after, limit).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        self.counted("prune").prune(request).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        self.counted("verify").verify(request).await
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        self.counted("overview").overview(now).await
    }

    async fn ping(&self) -> Result<()> {
        self.counted("ping").ping().await
    }
}

struct Nothing;

impl Worker for Nothing {
    type Task = ();
    const KIND: &'static str = "Nothing";

    async fn run(&self, (): (), _: &TaskContext) -> WorkerResult {
        Ok(Outcome::done())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Arc::new(CountingStore::new(MemoryStore::new()));
    let engine =
        Engine::start(Arc::clone(&store) as _, Arc::new(MemoryQueue::new()), EngineSettings::default());
    engine.host(engine.runner("nothing-in").register(Nothing).build()?);

    let keys: Vec<JobKey> =
        (0..100).map(|i| JobKey::parse("acme", format!("job-{i}"))).collect::<std::result::Result<_, _>>()?;
    let task = TaskSpec::json(Nothing::KIND, "nothing-in", &())?;
    let jobs = keys.iter().map(|key| NewJob::new(key.clone(), task.clone())).collect();
    engine.service().create_all(jobs).await?.into_iter().collect::<Result<Vec<_>>>()?;
    for key in &keys {
        engine.service().wait(key, Duration::from_secs(10), Duration::from_millis(100)).await?;
    }
    engine.stop().await;

    println!("a hundred jobs cost these calls of the store:");
    for (method, calls) in store.calls() {
        println!("{calls:>6} {method}");
    }
    Ok(())
}
