//! Which status follows which: one total function, and the only place that compares statuses.
//!
//! The table is the contract's (REST contract §3.2) with the deviations that `docs/decisions` records: a resume
//! returns a job to what it was, and a prerequisite's failure never overwrites a cancelled job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The status of a job, in the contract's (alphabetical) order, which is also its sort order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobStatus {
    /// At least one subtask has reported.
    Active,
    /// Stopped for good by a client.
    Cancelled,
    /// Every subtask is complete.
    Completed,
    /// A subtask or a prerequisite failed.
    Failed,
    /// Held by a client until it is resumed.
    Paused,
    /// Nothing has been reported yet.
    Waiting,
}

impl JobStatus {
    /// Every status, in sort order.
    pub const ALL: [Self; 6] =
        [Self::Active, Self::Cancelled, Self::Completed, Self::Failed, Self::Paused, Self::Waiting];

    /// The name used in JSON, filters and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Cancelled => "Cancelled",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Paused => "Paused",
            Self::Waiting => "Waiting",
        }
    }

    /// Whether workers should run this job's tasks now.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Active | Self::Waiting)
    }

    /// Whether nothing more is expected to happen: Completed, Failed or Cancelled.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether reports about the job's subtasks still count. A failed job counts on: it may yet complete.
    #[must_use]
    pub const fn accepts_reports(self) -> bool {
        !matches!(self, Self::Completed | Self::Cancelled)
    }

    /// Whether a message of this job may be published now.
    #[must_use]
    pub const fn may_dispatch(self) -> bool {
        self.is_active()
    }

    /// Whether messages of this job are kept back until a resume.
    #[must_use]
    pub const fn holds_messages(self) -> bool {
        matches!(self, Self::Paused)
    }

    /// Whether messages of this job are of no more use to anybody.
    #[must_use]
    pub const fn drops_messages(self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the job keeps its progress rows: a job that can no longer change has no use for them.
    #[must_use]
    pub const fn keeps_progress(self) -> bool {
        self.accepts_reports()
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown status: expected one of Active, Cancelled, Completed, Failed, Paused, Waiting")]
pub struct UnknownStatus;

impl FromStr for JobStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(UnknownStatus)
    }
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A subtask reported progress or completed, and others are outstanding.
    Progressed,
    /// The last outstanding subtask completed.
    AllCompleted,
    /// A subtask failed.
    SubtaskFailed,
    /// A job this one waits for failed.
    PrerequisiteFailed,
    /// A client cancels it.
    Cancel,
    /// A client pauses it.
    Pause,
    /// A client resumes it; `dispatched` says whether its first task is already on a queue.
    Resume {
        /// Whether the job's first task message has been published.
        dispatched: bool,
    },
    /// A client, or an engine whose queue forgot everything, wants its first task message published once more.
    Redispatch(FirstMessage),
}

/// Where the first task message of a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FirstMessage {
    /// With the store: it is yet to be published, whatever it waits for.
    Waiting,
    /// It was published, and the store can do so again.
    Published,
    /// It was published, and the store has not kept it.
    NotKept,
}

/// The answer to an [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// The job has a new status.
    To(JobStatus),
    /// The event is accepted and the status stays.
    Stay,
    /// The event has no effect whatever on this job.
    Ignore,
    /// The event is an error of the client.
    Refuse(Refusal),
}

/// Why a client's action is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The job has completed or failed.
    Cancel,
    /// The job is neither Active nor Waiting.
    Pause(JobStatus),
    /// The job is not paused.
    Resume(JobStatus),
    /// The job has completed, failed or been cancelled.
    Redispatch(JobStatus),
    /// The job's first task message is not there any more.
    MessageNotKept,
}

impl Refusal {
    /// The contract's text for the client.
    #[must_use]
    pub fn message(self, job: &str) -> String {
        match self {
            Self::Cancel => format!("job_id {{{job}}} cannot be cancelled"),
            Self::Pause(status) => format!(
                "job_id {{{job}}} cannot be paused as it has a status of {{{status}}}. Only jobs with a status of Active or Waiting can be paused."
            ),
            Self::Resume(status) => format!(
                "job_id {{{job}}} cannot be resumed as it has a status of {{{status}}}. Only jobs with a status of Paused can be resumed."
            ),
            Self::Redispatch(status) => format!(
                "job_id {{{job}}} cannot be redispatched as it has a status of {{{status}}}. Only jobs with a status of Active, Paused or Waiting can be redispatched."
            ),
            Self::MessageNotKept => format!(
                "job_id {{{job}}} cannot be redispatched as it was dispatched by a version that did not keep its task. Delete it and create it again."
            ),
        }
    }
}

/// The next status of a job in `status` when `event` happens.
///
/// ```
/// use job_core::{Event, JobStatus, Transition, transition};
/// assert_eq!(transition(JobStatus::Waiting, Event::Progressed), Transition::To(JobStatus::Active));
/// assert_eq!(transition(JobStatus::Cancelled, Event::AllCompleted), Transition::Ignore);
/// ```
#[must_use]
pub const fn transition(status: JobStatus, event: Event) -> Transition {
    use Event as E;
    use JobStatus as S;
    use Transition::{Ignore, Refuse, Stay, To};
    match (event, status) {
        (E::Progressed | E::AllCompleted | E::SubtaskFailed, S::Cancelled | S::Completed) => Ignore,
        (E::Progressed, S::Waiting) => To(S::Active),
        (E::Progressed, S::Active | S::Paused | S::Failed) => Stay,
        (E::AllCompleted, S::Waiting | S::Active | S::Paused | S::Failed) => To(S::Completed),
        (E::SubtaskFailed, S::Waiting | S::Active | S::Paused) => To(S::Failed),
        (E::SubtaskFailed, S::Failed) => Stay,
        (E::PrerequisiteFailed, S::Waiting | S::Active | S::Paused) => To(S::Failed),
        (E::PrerequisiteFailed, S::Failed | S::Cancelled | S::Completed) => Ignore,
        (E::Cancel, S::Waiting | S::Active | S::Paused) => To(S::Cancelled),
        (E::Cancel, S::Cancelled) => Ignore,
        (E::Cancel, S::Completed | S::Failed) => Refuse(Refusal::Cancel),
        (E::Pause, S::Waiting | S::Active) => To(S::Paused),
        (E::Pause, S::Paused) => Ignore,
        (E::Pause, S::Failed | S::Cancelled | S::Completed) => Refuse(Refusal::Pause(status)),
        (E::Resume { dispatched: true }, S::Paused) => To(S::Active),
        (E::Resume { dispatched: false }, S::Paused) => To(S::Waiting),
        (E::Resume { .. }, S::Active) => Ignore,
        (E::Resume { .. }, S::Waiting | S::Failed | S::Cancelled | S::Completed) => {
            Refuse(Refusal::Resume(status))
        }
        // A worker takes no task of a job that has finished.
        (E::Redispatch(_), S::Failed | S::Cancelled | S::Completed) => Refuse(Refusal::Redispatch(status)),
        (E::Redispatch(FirstMessage::Waiting), S::Waiting | S::Active | S::Paused) => Ignore,
        (E::Redispatch(FirstMessage::Published), S::Waiting | S::Active | S::Paused) => Stay,
        (E::Redispatch(FirstMessage::NotKept), S::Waiting | S::Active | S::Paused) => {
            Refuse(Refusal::MessageNotKept)
        }
    }
}
