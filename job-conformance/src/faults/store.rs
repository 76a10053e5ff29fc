//! A store that fails, also after doing what was asked, by seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::recording::RecordOutcome;
use job_core::store::{
    Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore, LeaseOwner,
    Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage, Suspension,
    TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Error, ErrorKind, Failure, Job, JobId, JobKey, JobStatus, PartitionId, Result, TaskPath,
    Timestamp,
};

use crate::store::seeded::Seeded;

/// How often a [`FaultyStore`] misbehaves, in calls per thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFaults {
    /// Fails without doing anything.
    pub fail_before: u32,
    /// Does what was asked, and then fails: the caller cannot know.
    pub fail_after: u32,
    /// Lets others go first, a few times, before and after.
    pub delay: u32,
}

/// How often a [`FaultyStore`] has misbehaved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFaultCounts {
    /// Calls that reached the wrapper.
    pub calls: u64,
    /// Calls that failed without doing anything.
    pub failed_before: u64,
    /// Calls that did what was asked, and then failed.
    pub failed_after: u64,
    /// Calls that were delayed.
    pub delayed: u64,
}

/// A wrapper that makes a healthy store behave like one behind a bad network.
///
/// Every error is transient, as the contract of each call says: the same call again is right. The same seed and the
/// same order of calls give the same faults.
pub struct FaultyStore {
    inner: Arc<dyn JobStore>,
    faults: StoreFaults,
    random: Mutex<Seeded>,
    healthy: AtomicBool,
    damaged: Mutex<BTreeSet<JobKey>>,
    refused: Mutex<BTreeSet<JobKey>>,
    calls: AtomicU64,
    failed_before: AtomicU64,
    failed_after: AtomicU64,
    delayed: AtomicU64,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Fate {
    fail_before: bool,
    fail_after: bool,
    yields: [u64; 2],
}

impl FaultyStore {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn JobStore>, faults: StoreFaults, seed: u64) -> Self {
        Self {
            inner,
            faults,
            random: Mutex::new(Seeded::new(seed)),
            healthy: AtomicBool::new(false),
            damaged: Mutex::default(),
            refused: Mutex::default(),
            calls: AtomicU64::new(0),
            failed_before: AtomicU64::new(0),
            failed_after: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        }
    }

    /// Ends the trouble: from now on every call goes through.
    pub fn heal(&self) {
        self.healthy.store(true, Ordering::SeqCst);
    }

    /// From now on, reports about this job and messages of it meet stored data that make no sense.
    pub fn damage(&self, job: JobKey) {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
    }

    /// From now on, a step with a message of this job that is to be kept is refused for good, whatever else is in it.
    pub fn refuse(&self, job: JobKey) {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(job);
    }

    /// What has been done to the calls so far.
    #[must_use]
    pub fn counts(&self) -> StoreFaultCounts {
        StoreFaultCounts {
            calls: self.calls.load(Ordering::SeqCst),
            failed_before: self.failed_before.load(Ordering::SeqCst),
            failed_after: self.failed_after.load(Ordering::SeqCst),
            delayed: self.delayed.load(Ordering::SeqCst),
        }
    }

    fn fate(&self) -> Fate {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.healthy.load(Ordering::SeqCst) {
            return Fate::default();
        }
        // A generator that somebody panicked over is as random as before.
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let yields =
            if random.permille(self.faults.delay) { [random.below(4) + 1, random.below(4)] } else { [0; 2] };
        Fate {
            fail_before: random.permille(self.faults.fail_before),
            fail_after: random.permille(self.faults.fail_after),
            yields,
        }
    }

    /// `call` does nothing until it is polled, so that dropping it is not having called.
    async fn through<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let fate = self.fate();
        if fate.yields != [0; 2] {
            self.delayed.fetch_add(1, Ordering::SeqCst);
        }
        give_way(fate.yields[0]).await;
        if fate.fail_before {
            self.failed_before.fetch_add(1, Ordering::SeqCst);
            return Err(Error::unavailable("injected: the call did not arrive"));
        }
        let result = call.await;
        give_way(fate.yields[1]).await;
        if fate.fail_after && result.is_ok() {
            self.failed_after.fetch_add(1, Ordering::SeqCst);
            return Err(Error::unavailable("injected: the answer did not arrive"));
        }
        result
    }
}

async fn give_way(times: u64) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore")
            .field("inner", &self.inner)
            .field("faults", &self.faults)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl JobStore for FaultyStore {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        self.through(self.inner.create(jobs, now)).await
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        self.through(self.inner.get(keys)).await
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        self.through(self.inner.statuses(keys)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        self.through(self.inner.list(query)).await
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.through(self.inner.count(partition, selection)).await
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        self.through(self.inner.act(job, action, now)).await
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
        self.through(self.inner.act_on_selected(partition, selection, action, after, limit, now)).await
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        self.through(self.inner.redispatch(after, limit, now)).await
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_damaged = |report: &&TaskReport| damaged.contains(&report.job);
        let readable: Vec<TaskReport> =
            reports.iter().filter(|report| !is_damaged(report)).cloned().collect();
        let mut recorded = self.through(self.inner.record(&readable, now)).await?;
        let mut outcomes = std::mem::take(&mut recorded.outcomes).into_iter();
        for report in reports {
            let outcome = if is_damaged(&report) { Some(RecordOutcome::DamagedJob) } else { outcomes.next() };
            recorded.outcomes.extend(outcome);
        }
        let reported = damaged.into_iter().filter(|job| reports.iter().any(|report| report.job == *job));
        recorded.damaged.extend(reported.map(|job| (job, "injected: it makes no sense".to_owned())));
        Ok(recorded)
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        self.through(self.inner.claim(request)).await
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        self.through(self.inner.settle(owner, entries, now)).await
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if messages.iter().any(|message| refused.contains(&message.job)) {
            return Err(Error::new(ErrorKind::Internal, "injected: the store does not take it"));
        }
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_damaged: Vec<bool> = messages.iter().map(|message| damaged.contains(&message.job)).collect();
        let readable = messages.into_iter().filter(|message| !damaged.contains(&message.job)).collect();
        let mut outcomes = self.through(self.inner.stow(readable, now)).await?.into_iter();
        let outcome = |damaged| match damaged {
            true => Some(StowOutcome::Damaged("injected: it makes no sense".to_owned())),
            false => outcomes.next(),
        };
        Ok(is_damaged.into_iter().filter_map(outcome).collect())
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        self.through(self.inner.tasks(job, parent, after, limit)).await
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.through(self.inner.failures(job, after, limit)).await
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        self.through(self.inner.dependents(partition, prerequisites, limit)).await
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.through(self.inner.suspend(partition, suspension)).await
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.through(self.inner.suspended_partitions(after, limit)).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        self.through(self.inner.prune(request)).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        self.through(self.inner.verify(request)).await
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        self.through(self.inner.overview(now)).await
    }

    async fn ping(&self) -> Result<()> {
        self.through(self.inner.ping()).await
    }
}
