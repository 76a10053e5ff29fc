//! What holds in every store at every moment, as far as readers can see it.
//!
//! The numbers are those of the design's list of invariants. An end-to-end test calls
//! [`check_invariants`] whenever it likes; no call may be half done then, or what is read at two moments is compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use job_core::progress::Percentage;
use job_core::query::{JobQuery, PAGE_SIZE_MAX, Selection};
use job_core::store::{JobStore, VerifyRequest};
use job_core::{FAILURES_SHOWN_MAX, Job, JobId, JobStatus, PartitionId, TaskPath};

/// Checks every job of these partitions, and each partition as a whole.
///
/// # Errors
/// What is wrong, in a sentence.
pub async fn check_invariants(store: &dyn JobStore, partitions: &[PartitionId]) -> Result<(), String> {
    for partition in partitions {
        let jobs = all_jobs(store, partition).await?;
        for job in &jobs {
            check_job(job).map_err(|wrong| format!("{}: {wrong}", job.key))?;
            check_details(store, job).await.map_err(|wrong| format!("{}: {wrong}", job.key))?;
        }
        check_circles(&jobs)?;
        check_counts(store, partition, &jobs).await?;
        let request = VerifyRequest { partition: partition.clone(), job: None, repair: false };
        let drifts = answer(store.verify(&request).await)?;
        ensure(drifts.is_empty(), || format!("{partition} contradicts itself: {drifts:?}"))?;
    }
    Ok(())
}

/// Every job of a partition, read page by page.
///
/// # Errors
/// When the store fails or a page contradicts the order.
pub async fn all_jobs(store: &dyn JobStore, partition: &PartitionId) -> Result<Vec<Job>, String> {
    let mut query = JobQuery { limit: PAGE_SIZE_MAX, ..JobQuery::new(partition.clone()) };
    let mut jobs: Vec<Job> = Vec::new();
    loop {
        let page = answer(store.list(&query).await)?;
        jobs.extend(page.jobs);
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let places: Vec<_> = jobs.iter().map(|job| query.sort.cursor(job)).collect();
    let ordered = places.windows(2).all(|pair| query.sort.compare(&pair[0], &pair[1]).is_lt());
    ensure(ordered, || format!("{partition} is listed out of order"))?;
    Ok(jobs)
}

fn check_job(job: &Job) -> Result<(), String> {
    let status = job.status;
    let (complete, finished) = (status == JobStatus::Completed, status.is_finished());
    ensure((job.percentage == Percentage::FULL) == complete, || {
        format!("invariant 2: {:?} while {status}", job.percentage)
    })?;
    ensure(job.finish_time.is_some() == finished, || {
        format!("finish time {:?} while {status}", job.finish_time)
    })?;
    ensure(!finished || job.blocked_by.is_empty(), || {
        format!("invariant 4: {status} and waits for {:?}", job.blocked_by)
    })?;
    ensure(!finished || job.dispatch_problem.is_none(), || {
        format!("invariant 4: {status} and yet to be dispatched")
    })?;
    // Whoever waits for a completed job was to be released with it, for a failed one to fail with it.
    let over = |status: Option<JobStatus>| matches!(status, Some(JobStatus::Completed | JobStatus::Failed));
    ensure(!job.blocked_by.iter().any(|blocker| over(blocker.status)), || {
        format!("invariant 5: waits for {:?}", job.blocked_by)
    })?;
    let waits_for: BTreeSet<&JobId> = job.blocked_by.iter().map(|blocker| &blocker.job).collect();
    ensure(waits_for.iter().copied().eq(job.blocked_by.iter().map(|blocker| &blocker.job)), || {
        format!("blockers out of order or repeated: {:?}", job.blocked_by)
    })?;
    ensure(!complete || job.failure_count == 0, || format!("completed with {} failures", job.failure_count))?;
    let counts = job.subtasks;
    ensure(counts.total.is_none_or(|total| counts.completed <= total), || format!("counts {counts:?}"))?;
    ensure(job.last_update_time >= job.create_time, || "changed before it was created".to_owned())
}

async fn check_details(store: &dyn JobStore, job: &Job) -> Result<(), String> {
    let key = std::slice::from_ref(&job.key);
    let read = answer(store.get(key).await)?;
    ensure_equal("listed and read", &[Some(job.clone())][..], &read[..])?;
    ensure_equal("status", &[Some(job.status)][..], &answer(store.statuses(key).await)?[..])?;
    let mut failures = Vec::new();
    let mut after = 0;
    loop {
        let page = answer(store.failures(&job.key, after, PAGE_SIZE_MAX).await)?;
        let Some((last, ..)) = page.last() else { break };
        ensure(page[0].0 > after && page.windows(2).all(|pair| pair[0].0 < pair[1].0), || {
            "failures out of order".to_owned()
        })?;
        after = *last;
        failures.extend(page.into_iter().map(|(_, _, failure)| failure));
    }
    ensure_equal("failure count", &job.failure_count, &(failures.len() as u64))?;
    failures.truncate(FAILURES_SHOWN_MAX);
    ensure_equal("failures", &job.failures, &failures)?;
    let tasks = answer(store.tasks(&job.key, &TaskPath::root(), 0, 1).await)?;
    ensure(job.status.keeps_progress() || tasks == Some(vec![]), || format!("{} with a tree", job.status))
}

/// Invariant 8. Takes away jobs that wait for nobody who is left, until only circles are.
fn check_circles(jobs: &[Job]) -> Result<(), String> {
    let mut waiting: BTreeMap<&JobId, BTreeSet<&JobId>> = jobs
        .iter()
        .map(|job| (&job.key.job, job.blocked_by.iter().map(|blocker| &blocker.job).collect()))
        .collect();
    loop {
        let before = waiting.len();
        let left: BTreeSet<&JobId> = waiting.keys().copied().collect();
        waiting.retain(|_, prerequisites| prerequisites.iter().any(|job| left.contains(job)));
        if waiting.len() == before {
            return ensure(waiting.is_empty(), || format!("invariant 8: a circle in {waiting:?}"));
        }
    }
}

async fn check_counts(store: &dyn JobStore, partition: &PartitionId, jobs: &[Job]) -> Result<(), String> {
    let mut expected = BTreeMap::new();
    for job in jobs {
        *expected.entry(job.status).or_insert(0) += 1;
    }
    let counted = answer(store.count(partition, &Selection::default()).await)?;
    ensure_equal("counts", &expected, &counted)
}

fn answer<T>(result: job_core::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("the store failed: {error}"))
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn ensure_equal<T: PartialEq + Debug + ?Sized>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    ensure(expected == found, || format!("{what}: {expected:?} is not {found:?}"))
}
