//! What a batch of reports does to one job: the step between [`progress`](crate::progress) and a store.

use crate::clock::Timestamp;
use crate::id::{TaskId, TaskPath};
use crate::job::{Failure, SubtaskCounts};
use crate::lifecycle::{Event, FirstMessage, JobStatus, Transition, transition};
use crate::progress::{Anomaly, Effects, Percentage, ReportEvent, Reported, Tree};

/// The part of a job that reports and actions change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobState {
    /// Its status.
    pub status: JobStatus,
    /// What it shows as its percentage.
    pub percentage: Percentage,
    /// What it shows of its direct subtasks.
    pub subtasks: SubtaskCounts,
    /// When it last changed.
    pub last_update_time: Timestamp,
    /// When it was put on its queue.
    pub start_time: Option<Timestamp>,
    /// When it was completed, failed or cancelled.
    pub finish_time: Option<Timestamp>,
}

impl JobState {
    /// The state of a job that was just created.
    #[must_use]
    pub fn created(now: Timestamp) -> Self {
        Self {
            status: JobStatus::Waiting,
            percentage: Percentage::ZERO,
            subtasks: SubtaskCounts::default(),
            last_update_time: now,
            start_time: None,
            finish_time: None,
        }
    }

    /// Whether the first task message has been published.
    #[must_use]
    pub const fn is_dispatched(&self) -> bool {
        self.start_time.is_some()
    }

    /// Applies `event`; on [`Transition::To`] the status and the times follow. A step that had to wait may come with a time
    /// before the last one: times stay in order all the same.
    pub fn apply(&mut self, event: Event, now: Timestamp) -> Transition {
        let transition = transition(self.status, event);
        if let Transition::To(status) = transition {
            self.status = status;
            self.last_update_time = self.last_update_time.max(now);
            self.finish_time = status.is_finished().then_some(self.last_update_time);
        }
        transition
    }

    /// What asking for the first task message once more means: on [`Transition::Stay`] the store puts it back into its
    /// outbox. `in_outbox` says whether it is there already, `kept` whether the store still has it.
    #[must_use]
    pub const fn redispatch(&self, in_outbox: bool, kept: bool) -> Transition {
        let message = if in_outbox || !self.is_dispatched() {
            FirstMessage::Waiting
        } else if kept {
            FirstMessage::Published
        } else {
            FirstMessage::NotKept
        };
        transition(self.status, Event::Redispatch(message))
    }

    /// A job this one waits for failed. The percentage of such a job is 0 (REST contract §5.5).
    pub fn fail_by_prerequisite(&mut self, now: Timestamp) -> Transition {
        let transition = self.apply(Event::PrerequisiteFailed, now);
        if matches!(transition, Transition::To(_)) {
            self.percentage = Percentage::ZERO;
        }
        transition
    }
}

/// The fate of one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordOutcome {
    /// It changed the job's progress.
    Counted,
    /// It said nothing that was not known.
    Duplicate,
    /// There is no such job; it may have been deleted.
    UnknownJob,
    /// The job is completed or cancelled and counts no more.
    FinishedJob,
    /// What is stored of the job cannot be read; nothing was recorded. [`Recorded::damaged`](crate::store::Recorded) says
    /// what is wrong.
    DamagedJob,
}

/// What recording did to one job, beyond what its [`JobState`] and [`Tree`] now say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// One per report, in order.
    pub outcomes: Vec<RecordOutcome>,
    /// Whether anything has to be written.
    pub changed: bool,
    /// New failures in order of arrival, to be added to the job's.
    pub failures: Vec<(TaskPath, Failure)>,
    /// The failures of these tasks, and of all below them, are over and to be removed.
    pub recovered: Vec<TaskPath>,
    /// The records and chunks of these tasks, and of all below them, are to be removed.
    pub dropped: Vec<TaskPath>,
    /// The job is now complete: dependents are to be released, its progress and its outbox entries removed.
    pub completed: bool,
    /// The job has just failed, for the first time, with this: dependents are to fail with it, and its undispatched
    /// first message is to be removed.
    pub failed: Option<Failure>,
    /// What a correct worker would not have sent.
    pub anomalies: Vec<Anomaly>,
}

/// Takes in a batch of reports about one job, in order. Applying the same batch twice changes nothing the second time.
pub fn record<'a>(
    state: &mut JobState,
    tree: &mut Tree,
    reports: impl IntoIterator<Item = (&'a TaskId, &'a ReportEvent)>,
    now: Timestamp,
) -> Recording {
    let mut recording = Recording::default();
    let mut effects = Effects::default();
    for (task, event) in reports {
        let outcome = record_one(state, tree, task, event, now, &mut effects, &mut recording);
        recording.outcomes.push(outcome);
    }
    if recording.changed {
        state.percentage = if recording.completed { Percentage::FULL } else { tree.percentage() };
        state.subtasks = tree.counts();
        state.last_update_time = state.last_update_time.max(now);
    }
    // A failure that was over within the same batch is of no interest to anybody.
    let over = |path: &TaskPath| effects.recovered.iter().any(|recovered| path.is_within(recovered));
    recording.failures =
        effects.failures.into_iter().filter(|(path, _)| !recording.completed && !over(path)).collect();
    if recording.completed {
        (recording.recovered, recording.dropped) = (vec![TaskPath::root()], vec![TaskPath::root()]);
    } else {
        (recording.recovered, recording.dropped) = (effects.recovered, effects.dropped);
    }
    recording.anomalies = effects.anomalies;
    recording
}

fn record_one(
    state: &mut JobState,
    tree: &mut Tree,
    task: &TaskId,
    event: &ReportEvent,
    now: Timestamp,
    effects: &mut Effects,
    recording: &mut Recording,
) -> RecordOutcome {
    if !state.status.accepts_reports() {
        return RecordOutcome::FinishedJob;
    }
    if tree.record(task, event, effects) == Reported::Duplicate {
        return RecordOutcome::Duplicate;
    }
    recording.changed = true;
    let job_event = match event {
        _ if tree.is_complete() => Event::AllCompleted,
        ReportEvent::Failed(_) => Event::SubtaskFailed,
        ReportEvent::Progress(_) | ReportEvent::Complete => Event::Progressed,
    };
    match (state.apply(job_event, now), event) {
        (Transition::To(JobStatus::Completed), _) => recording.completed = true,
        (Transition::To(JobStatus::Failed), ReportEvent::Failed(failure)) => {
            recording.failed = Some(failure.clone().bounded());
        }
        _ => {}
    }
    RecordOutcome::Counted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str) -> ReportEvent {
        ReportEvent::Failed(Failure {
            id: "RESULT_EXCEPTION".into(),
            time: Timestamp::from_millis(1),
            source: "w".into(),
            message: message.into(),
        })
    }

    fn run(state: &mut JobState, tree: &mut Tree, reports: &[(&str, ReportEvent)]) -> Recording {
        let reports: Vec<(TaskId, ReportEvent)> =
            reports.iter().map(|(task, event)| (task.parse().unwrap(), event.clone())).collect();
        record(state, tree, reports.iter().map(|(task, event)| (task, event)), Timestamp::from_millis(9))
    }

    #[test]
    fn a_failed_subtask_fails_the_job_at_once_and_its_completion_heals_it() {
        let (mut state, mut tree) = (JobState::created(Timestamp::default()), Tree::default());
        let first = run(&mut state, &mut tree, &[(".1", failure("boom")), (".2*", ReportEvent::Complete)]);
        assert_eq!(state.status, JobStatus::Failed);
        assert_eq!(first.failures.len(), 1);
        assert!(first.failed.is_some());
        assert_eq!(state.percentage.rounded(), 50.0);
        let second = run(&mut state, &mut tree, &[(".1", ReportEvent::Complete)]);
        assert_eq!(state.status, JobStatus::Completed);
        assert!(second.completed);
        assert_eq!(second.recovered, [TaskPath::root()]);
        assert_eq!((state.percentage.rounded(), state.finish_time), (100.0, Some(Timestamp::from_millis(9))));
    }

    #[test]
    fn times_stay_in_order_when_a_step_had_to_wait() {
        let created = Timestamp::from_millis(20);
        let (mut state, mut tree) = (JobState::created(created), Tree::default());
        run(&mut state, &mut tree, &[(".1", ReportEvent::Complete)]);
        assert_eq!((state.status, state.last_update_time), (JobStatus::Active, created));
        state.apply(Event::Cancel, Timestamp::from_millis(9));
        assert_eq!((state.last_update_time, state.finish_time), (created, Some(created)));
    }

    #[test]
    fn progress_of_zero_does_not_start_a_job() {
        let (mut state, mut tree) = (JobState::created(Timestamp::default()), Tree::default());
        let recording = run(&mut state, &mut tree, &[(".7*", ReportEvent::Progress(Percentage::ZERO))]);
        assert_eq!((state.status, recording.changed), (JobStatus::Waiting, false));
        run(&mut state, &mut tree, &[(".1", ReportEvent::Progress(Percentage::from_hundredths(100)))]);
        assert_eq!(state.status, JobStatus::Active);
    }

    #[test]
    fn reports_behind_the_completing_one_are_ignored() {
        let (mut state, mut tree) = (JobState::created(Timestamp::default()), Tree::default());
        let recording = run(&mut state, &mut tree, &[("", ReportEvent::Complete), (".1", failure("late"))]);
        assert_eq!(recording.outcomes, [RecordOutcome::Counted, RecordOutcome::FinishedJob]);
        assert_eq!(state.status, JobStatus::Completed);
        assert!(recording.failures.is_empty());
    }
}
