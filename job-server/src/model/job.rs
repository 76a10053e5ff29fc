//! A job as the contract shows it: its members first, in its order and with nulls present, then ours.

use std::collections::BTreeMap;

use job_core::progress::TaskProgress;
use job_core::{
    Blocker, DispatchProblem, Failure, Job, JobId, JobStatus, SubtaskCounts, TaskPath, Timestamp,
};
use serde::Serialize;

/// A job's JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobModel<'a> {
    id: &'a str,
    name: Option<&'a str>,
    description: Option<&'a str>,
    external_data: Option<&'a str>,
    create_time: Timestamp,
    last_update_time: Timestamp,
    status: JobStatus,
    percentage_complete: f64,
    failures: &'a [Failure],
    labels: &'a BTreeMap<String, Option<String>>,
    prerequisite_job_ids: Vec<&'a str>,
    blocked_by: Vec<BlockedBy<'a>>,
    failure_count: u64,
    subtasks: SubtaskCounts,
    start_time: Option<Timestamp>,
    finish_time: Option<Timestamp>,
    estimated_finish_time: Option<Timestamp>,
    delay: u64,
    #[serde(rename = "type")]
    job_type: Option<&'a str>,
    correlation_id: Option<&'a str>,
}

/// One reason why a job does not run yet.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum BlockedBy<'a> {
    Prerequisite { job_id: &'a str, status: &'static str },
    Queue { reason: &'a str, attempts: u32, retry_time: Timestamp },
    Suspension { reason: &'static str },
}

const SUSPENDED: &str = "the partition is suspended";

impl<'a> JobModel<'a> {
    /// As `job` is at `now`.
    pub(crate) fn new(job: &'a Job, now: Timestamp) -> Self {
        let prerequisites = job.blocked_by.iter().map(BlockedBy::prerequisite);
        let suspension = job.suspended.then_some(BlockedBy::Suspension { reason: SUSPENDED });
        let queue = job.dispatch_problem.as_ref().map(BlockedBy::queue);
        Self {
            id: job.key.job.as_str(),
            name: job.name.as_deref(),
            description: job.description.as_deref(),
            external_data: job.external_data.as_deref(),
            create_time: job.create_time,
            last_update_time: job.last_update_time,
            status: job.status,
            percentage_complete: job.percentage.rounded(),
            failures: &job.failures,
            labels: &job.labels,
            prerequisite_job_ids: job.prerequisites_unmet_first().map(JobId::as_str).collect(),
            blocked_by: prerequisites.chain(suspension).chain(queue).collect(),
            failure_count: job.failure_count,
            subtasks: job.subtasks,
            start_time: job.start_time,
            finish_time: job.finish_time,
            estimated_finish_time: estimated_finish(job, now),
            delay: job.delay.as_secs(),
            job_type: job.job_type.as_deref(),
            correlation_id: job.correlation_id.as_deref(),
        }
    }
}

impl<'a> BlockedBy<'a> {
    fn prerequisite(blocker: &'a Blocker) -> Self {
        let status = blocker.status.map_or("missing", JobStatus::as_str);
        Self::Prerequisite { job_id: blocker.job.as_str(), status }
    }

    fn queue(problem: &'a DispatchProblem) -> Self {
        Self::Queue { reason: &problem.reason, attempts: problem.attempts, retry_time: problem.retry_at }
    }
}

/// When an active job is done if it goes on as fast as on average so far.
fn estimated_finish(job: &Job, now: Timestamp) -> Option<Timestamp> {
    let started = job.start_time.filter(|_| job.status == JobStatus::Active)?;
    let done = u32::from(job.percentage.hundredths());
    if done == 0 {
        return None;
    }
    let total = now.since(started).checked_mul(10_000)? / done;
    Some(started.saturating_add(total).max(now))
}

/// One task of a job's progress tree.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskModel {
    path: String,
    percentage_complete: f64,
    failed: bool,
    subtasks: SubtaskCounts,
}

impl From<&TaskProgress> for TaskModel {
    fn from(task: &TaskProgress) -> Self {
        Self {
            path: path_text(&task.path),
            percentage_complete: task.percentage.rounded(),
            failed: task.failed,
            subtasks: task.subtasks,
        }
    }
}

/// One failure of a job, with the task it belongs to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailureModel<'a> {
    path: String,
    #[serde(flatten)]
    failure: &'a Failure,
}

impl<'a> FailureModel<'a> {
    pub(crate) fn new(path: &TaskPath, failure: &'a Failure) -> Self {
        Self { path: path_text(path), failure }
    }
}

/// `1.7`, the form that the `path` parameter takes; empty for the job itself.
fn path_text(path: &TaskPath) -> String {
    let text = path.to_string();
    text.strip_prefix('.').map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use job_core::JobKey;
    use job_core::progress::Percentage;

    use super::*;

    fn job(status: JobStatus, percentage: f64) -> Job {
        Job {
            key: JobKey::parse("p", "j").unwrap(),
            name: None,
            description: None,
            external_data: None,
            create_time: Timestamp::default(),
            last_update_time: Timestamp::default(),
            status,
            percentage: Percentage::from_number(percentage).unwrap(),
            failures: Vec::new(),
            failure_count: 0,
            labels: BTreeMap::new(),
            subtasks: SubtaskCounts::default(),
            prerequisites: Vec::new(),
            blocked_by: Vec::new(),
            dispatch_problem: None,
            suspended: false,
            start_time: Some(Timestamp::from_millis(1_000)),
            finish_time: None,
            delay: Duration::ZERO,
            job_type: None,
            correlation_id: None,
        }
    }

    #[test]
    fn an_active_job_is_expected_to_go_on_as_before() {
        let now = Timestamp::from_millis(2_000);
        let expected =
            |status, percentage| estimated_finish(&job(status, percentage), now).map(Timestamp::as_millis);
        assert_eq!(expected(JobStatus::Active, 25.0), Some(5_000));
        assert_eq!(expected(JobStatus::Active, 100.0), Some(2_000));
        assert_eq!(expected(JobStatus::Active, 0.0), None);
        assert_eq!(expected(JobStatus::Paused, 25.0), None);
        assert_eq!(expected(JobStatus::Completed, 100.0), None);
    }

    #[test]
    fn a_queue_that_refuses_shows_among_what_blocks() {
        let problem = DispatchProblem {
            attempts: 2,
            reason: "the queue does not exist".into(),
            retry_at: Timestamp::from_millis(9),
        };
        let job = Job { dispatch_problem: Some(problem), ..job(JobStatus::Waiting, 0.0) };
        let shown = serde_json::to_value(JobModel::new(&job, Timestamp::default())).unwrap();
        assert_eq!(
            shown["blockedBy"],
            serde_json::json!([{"reason": "the queue does not exist", "attempts": 2, "retryTime": 9}])
        );
    }
}
