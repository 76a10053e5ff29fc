//! Jobs, reports and calls that the cases are written in.
//!
//! Unless a case says otherwise, jobs live in partition `p` and every claim takes whatever it may, for one second.

use std::time::Duration;

use bytes::Bytes;
use job_core::progress::{Percentage, ReportEvent};
use job_core::query::{JobQuery, Sort};
use job_core::store::{
    Action, ActionOutcome, ClaimRequest, Claimed, CreateOutcome, JobStore, LeaseOwner, OutboxEntry, Recorded,
    Settled, StowedMessage, TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Failure, Fingerprint, Job, JobId, JobKey, JobStatus, NewJob, PartitionId, TaskPath,
    TaskSpec, Timestamp,
};
use uuid::Uuid;

/// A dispatcher.
pub const ANNE: LeaseOwner = Uuid::from_u128(0xa);
/// Another dispatcher.
pub const BERT: LeaseOwner = Uuid::from_u128(0xb);
/// How long [`claim`] takes entries for.
pub const LEASE: Duration = Duration::from_secs(1);

/// An instant.
#[must_use]
pub const fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A partition.
#[must_use]
pub fn partition(id: &str) -> PartitionId {
    PartitionId::new(id).expect("cases name valid partitions")
}

/// A job id.
#[must_use]
pub fn id(job: &str) -> JobId {
    JobId::new(job).expect("cases name valid jobs")
}

/// A job of partition `p`.
#[must_use]
pub fn key(job: &str) -> JobKey {
    key_in("p", job)
}

/// A job of a partition.
#[must_use]
pub fn key_in(partition: &str, job: &str) -> JobKey {
    JobKey::parse(partition, job).expect("cases name valid jobs")
}

/// A path in a job's tree.
#[must_use]
pub fn path(text: &str) -> TaskPath {
    text.parse().expect("cases name valid tasks")
}

/// A job without anything special.
#[must_use]
pub fn job(id: &str) -> NewJob {
    job_in("p", id)
}

/// A job of a partition without anything special.
#[must_use]
pub fn job_in(partition: &str, id: &str) -> NewJob {
    let task = TaskSpec {
        classifier: "Worker".into(),
        api_version: 1,
        data: Bytes::from(format!("data of {id}")),
        queue: "worker-in".into(),
        target: Some("worker-out".into()),
    };
    NewJob::new(key_in(partition, id), task)
}

/// A job that waits for others.
#[must_use]
pub fn job_after(id: &str, prerequisites: &[&str]) -> NewJob {
    job(id).after(prerequisites.iter().map(|text| self::id(text)))
}

/// The `taskId` that [`accept`] gives a job.
#[must_use]
pub fn task_id(job: &JobKey) -> Uuid {
    let text = job.to_string();
    let folded =
        text.bytes().fold(7u128, |hash, byte| hash.wrapping_mul(0x1_0000_01b3).wrapping_add(byte.into()));
    Uuid::from_u128(folded)
}

/// The job as a service would hand it to the store.
#[must_use]
pub fn accept(job: NewJob) -> AcceptedJob {
    AcceptedJob { fingerprint: Fingerprint::of_job(&job), task_id: task_id(&job.key), suspended: false, job }
}

/// Creates a job at `now` and returns what became of it.
pub async fn try_create(store: &dyn JobStore, job: NewJob, now: i64) -> CreateOutcome {
    let outcomes = store.create(vec![accept(job)], at(now)).await.expect("create");
    let [outcome] = outcomes.try_into().expect("one outcome per job");
    outcome
}

/// Creates jobs that nothing is wrong with.
pub async fn create(store: &dyn JobStore, jobs: impl IntoIterator<Item = NewJob> + Send, now: i64) {
    let jobs: Vec<AcceptedJob> = jobs.into_iter().map(accept).collect();
    let expected = vec![CreateOutcome::Created; jobs.len()];
    assert_eq!(store.create(jobs, at(now)).await.expect("create"), expected);
}

/// Creates plain jobs of these ids.
pub async fn create_plain(store: &dyn JobStore, ids: &[&str], now: i64) {
    create(store, ids.iter().map(|id| job(id)).collect::<Vec<_>>(), now).await;
}

/// Reads a job of any partition.
pub async fn find(store: &dyn JobStore, key: &JobKey) -> Option<Job> {
    let jobs = store.get(std::slice::from_ref(key)).await.expect("get");
    let [job] = jobs.try_into().expect("one answer per key");
    job
}

/// Reads a job that is there.
pub async fn read(store: &dyn JobStore, id: &str) -> Job {
    find(store, &key(id)).await.unwrap_or_else(|| panic!("job {id} is missing"))
}

/// The status of a job that is there.
pub async fn status(store: &dyn JobStore, id: &str) -> JobStatus {
    read(store, id).await.status
}

/// The task is complete.
#[must_use]
pub fn complete(job: &str, task: &str) -> TaskReport {
    report(job, task, ReportEvent::Complete)
}

/// The task is this far.
#[must_use]
pub fn progress(job: &str, task: &str, percent: f64) -> TaskReport {
    let percentage = Percentage::from_number(percent).expect("cases name valid percentages");
    report(job, task, ReportEvent::Progress(percentage))
}

/// The task failed.
#[must_use]
pub fn failed(job: &str, task: &str, message: &str) -> TaskReport {
    report(job, task, ReportEvent::Failed(failure(message)))
}

/// A failure.
#[must_use]
pub fn failure(message: &str) -> Failure {
    Failure { id: "RESULT_EXCEPTION".into(), time: at(1), source: "Worker/1".into(), message: message.into() }
}

/// Something about a task.
#[must_use]
pub fn report(job: &str, task: &str, event: ReportEvent) -> TaskReport {
    TaskReport { job: key(job), task: task.parse().expect("cases name valid tasks"), event }
}

/// Records reports.
pub async fn record(store: &dyn JobStore, reports: &[TaskReport], now: i64) -> Recorded {
    let recorded = store.record(reports, at(now)).await.expect("record");
    assert_eq!(recorded.outcomes.len(), reports.len(), "one outcome per report");
    recorded
}

/// Completes a job as a whole.
pub async fn finish(store: &dyn JobStore, id: &str, now: i64) -> Recorded {
    record(store, &[complete(id, "")], now).await
}

/// Applies an action to a job.
pub async fn act(store: &dyn JobStore, id: &str, action: Action, now: i64) -> ActionOutcome {
    store.act(&key(id), action, at(now)).await.expect("act")
}

/// Applies an action that changes the job.
pub async fn apply(store: &dyn JobStore, id: &str, action: Action, now: i64) {
    assert_eq!(act(store, id, action, now).await, ActionOutcome::Applied, "{action:?} {id}");
}

/// Brings a new job to a status, the first way that comes to mind.
pub async fn bring_to(store: &dyn JobStore, id: &str, status: JobStatus, now: i64) {
    match status {
        JobStatus::Waiting => {}
        JobStatus::Active => drop(record(store, &[complete(id, ".1")], now).await),
        JobStatus::Completed => drop(finish(store, id, now).await),
        JobStatus::Failed => drop(record(store, &[failed(id, ".1", "boom")], now).await),
        JobStatus::Cancelled => apply(store, id, Action::Cancel, now).await,
        JobStatus::Paused => apply(store, id, Action::Pause, now).await,
    }
    assert_eq!(self::status(store, id).await, status);
}

/// A claim by somebody.
pub async fn claim_as(store: &dyn JobStore, owner: LeaseOwner, now: i64, limit: u32) -> Claimed {
    store
        .claim(ClaimRequest { owner, now: at(now), lease: LEASE, limit, bytes_limit: usize::MAX })
        .await
        .expect("claim")
}

/// Anne takes whatever she may.
pub async fn claim(store: &dyn JobStore, now: i64) -> Vec<OutboxEntry> {
    claim_as(store, ANNE, now, 10_000).await.entries
}

/// The jobs whose entries Anne takes, in order.
pub async fn claim_ids(store: &dyn JobStore, now: i64) -> Vec<String> {
    ids_of(&claim(store, now).await)
}

/// The jobs of entries.
#[must_use]
pub fn ids_of(entries: &[OutboxEntry]) -> Vec<String> {
    entries.iter().map(|entry| entry.job.job.to_string()).collect()
}

/// Takes the only entry there is to take.
pub async fn claim_one(store: &dyn JobStore, now: i64) -> OutboxEntry {
    let entries = claim(store, now).await;
    let [entry] = entries.try_into().expect("exactly one entry is due");
    entry
}

/// Settles one entry.
pub async fn settle(store: &dyn JobStore, owner: LeaseOwner, entry: u64, settled: Settled, now: i64) -> bool {
    let answers = store.settle(owner, vec![(entry, settled)], at(now)).await.expect("settle");
    let [answer] = answers.try_into().expect("one answer per entry");
    answer
}

/// Publishes everything that may be published; returns the jobs.
pub async fn dispatch(store: &dyn JobStore, now: i64) -> Vec<String> {
    let entries = claim(store, now).await;
    let settled = entries.iter().map(|entry| (entry.id, Settled::Published)).collect();
    let answers = store.settle(ANNE, settled, at(now)).await.expect("settle");
    assert!(answers.iter().all(|answer| *answer), "nobody else was at it");
    ids_of(&entries)
}

/// A message of a job that is to be kept.
#[must_use]
pub fn message(job: &str, body: &str) -> StowedMessage {
    StowedMessage {
        job: key(job),
        queue: "worker-in".into(),
        body: Bytes::from(body.to_owned()),
        headers: Default::default(),
    }
}

/// The ids on one page.
pub async fn list_ids(store: &dyn JobStore, query: &JobQuery) -> Vec<String> {
    ids(&store.list(query).await.expect("list").jobs)
}

/// The ids of jobs.
#[must_use]
pub fn ids(jobs: &[Job]) -> Vec<String> {
    jobs.iter().map(|job| job.key.job.to_string()).collect()
}

/// Everything in partition `p` in an order such as `name:asc`.
#[must_use]
pub fn sorted_by(sort: &str) -> JobQuery {
    let sort: Sort = sort.parse().expect("cases name valid orders");
    JobQuery { sort, limit: 10_000, ..JobQuery::new(partition("p")) }
}

/// Asserts that the store contradicts itself nowhere in partition `p`.
pub async fn assert_sound(store: &dyn JobStore) {
    let request = VerifyRequest { partition: partition("p"), job: None, repair: false };
    assert_eq!(store.verify(&request).await.expect("verify"), []);
}

/// Asserts that a dispatcher is told to look again at `latest` or before.
pub fn assert_wakes(next_due: Option<Timestamp>, latest: i64) {
    assert!(next_due.is_some_and(|due| due <= at(latest)), "{next_due:?} is not {latest}ms or earlier");
}
