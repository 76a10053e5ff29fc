//! One job with everything that belongs to it.

use std::collections::{BTreeMap, BTreeSet};

use job_core::progress::{TaskProgress, Tree};
use job_core::recording::JobState;
use job_core::store::OutboxContent;
use job_core::{DispatchProblem, Fingerprint, Job, JobId, NewJob, TaskPath, Timestamp};

use crate::failures::FailureLog;

#[derive(Debug)]
pub(crate) struct StoredJob {
    /// The job as it is read back, so that selecting and sorting copy nothing. What it derives from its failures, its
    /// prerequisites and its outbox entries is left empty here and filled in for a reader.
    pub(crate) shown: Job,
    pub(crate) fingerprint: Fingerprint,
    /// Absent before the first report and once the job can change no more.
    pub(crate) tree: Option<Box<Tree>>,
    pub(crate) failures: FailureLog,
    /// Prerequisites that are not met.
    pub(crate) unmet: BTreeSet<JobId>,
    /// The outbox entry of the first message; it may be gone from the outbox.
    pub(crate) start_entry: u64,
    /// What that entry publishes, kept until the job can change no more.
    pub(crate) first_message: Option<OutboxContent>,
    /// The entries in the outbox.
    pub(crate) entries: BTreeSet<u64>,
    /// Entries whose last publication failed.
    pub(crate) problems: BTreeMap<u64, DispatchProblem>,
}

impl StoredJob {
    pub(crate) fn new(
        job: NewJob,
        fingerprint: Fingerprint,
        unmet: BTreeSet<JobId>,
        start_entry: u64,
        first_message: OutboxContent,
        now: Timestamp,
    ) -> Self {
        let state = JobState::created(now);
        let shown = Job {
            key: job.key,
            name: job.name,
            description: job.description,
            external_data: job.external_data,
            create_time: now,
            last_update_time: state.last_update_time,
            status: state.status,
            percentage: state.percentage,
            failures: Vec::new(),
            failure_count: 0,
            labels: job.labels,
            subtasks: state.subtasks,
            prerequisites: job.prerequisites.into_iter().map(|named| named.job).collect(),
            blocked_by: Vec::new(),
            dispatch_problem: None,
            suspended: false,
            start_time: state.start_time,
            finish_time: state.finish_time,
            delay: job.delay,
            job_type: job.job_type,
            correlation_id: job.correlation_id,
        };
        Self {
            shown,
            fingerprint,
            tree: None,
            failures: FailureLog::default(),
            unmet,
            start_entry,
            first_message: Some(first_message),
            entries: BTreeSet::from([start_entry]),
            problems: BTreeMap::new(),
        }
    }

    pub(crate) fn state(&self) -> JobState {
        let job = &self.shown;
        JobState {
            status: job.status,
            percentage: job.percentage,
            subtasks: job.subtasks,
            last_update_time: job.last_update_time,
            start_time: job.start_time,
            finish_time: job.finish_time,
        }
    }

    pub(crate) fn set_state(&mut self, state: &JobState) {
        let job = &mut self.shown;
        job.status = state.status;
        job.percentage = state.percentage;
        job.subtasks = state.subtasks;
        job.last_update_time = state.last_update_time;
        job.start_time = state.start_time;
        job.finish_time = state.finish_time;
    }

    pub(crate) fn tasks(&self, parent: &TaskPath, after: u32, limit: u32) -> Vec<TaskProgress> {
        self.tree.as_ref().map_or_else(Vec::new, |tree| tree.children(parent, after, limit as usize))
    }
}
