//! What contradicts what in a store: the comparisons behind [`JobStore::verify`](crate::store::JobStore::verify).
//!
//! A store gathers what it has written about one job, and does what is said here to correct it. What only one store
//! derives, such as an index of its own, it compares itself, with the same [`Findings`].

use std::fmt::Debug;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::dependency;
use crate::id::{JobKey, TaskPath};
use crate::lifecycle::{Event, JobStatus};
use crate::progress::{Percentage, Tree};
use crate::recording::JobState;
use crate::store::Drift;

/// The contradictions found so far, and whether they are to be corrected.
#[derive(Debug)]
pub struct Findings {
    drifts: Vec<Drift>,
    repair: bool,
}

impl Findings {
    /// None yet.
    #[must_use]
    pub const fn new(repair: bool) -> Self {
        Self { drifts: Vec::new(), repair }
    }

    /// Whether what is found is to be corrected.
    #[must_use]
    pub const fn repair(&self) -> bool {
        self.repair
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.drifts.len()
    }

    /// All of them, in the order in which they were found.
    #[must_use]
    pub fn into_drifts(self) -> Vec<Drift> {
        self.drifts
    }

    /// Notes a contradiction about a job; returns whether it is to be corrected.
    pub fn note(&mut self, job: &JobKey, what: &str, stored: impl Debug, expected: impl Debug) -> bool {
        self.note_task(job, &TaskPath::root(), what, stored, expected)
    }

    /// Notes it when the two differ.
    pub fn compare<T: Debug + PartialEq>(
        &mut self,
        job: &JobKey,
        what: &str,
        stored: &T,
        expected: &T,
    ) -> bool {
        stored != expected && self.note(job, what, stored, expected)
    }

    /// Notes a contradiction about a task; returns whether it is to be corrected.
    pub fn note_task(
        &mut self,
        job: &JobKey,
        task: &TaskPath,
        what: &str,
        stored: impl Debug,
        expected: impl Debug,
    ) -> bool {
        self.drifts.push(Drift {
            job: job.clone(),
            task: task.clone(),
            what: what.to_owned(),
            stored: format!("{stored:?}"),
            expected: format!("{expected:?}"),
        });
        self.repair
    }
}

/// What a store is to do about the progress of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressRepair {
    /// Nothing.
    None,
    /// Write the state and the tree as they now are.
    Write,
    /// As [`Write`](Self::Write), and drop the tree: the job can change no more.
    Drop,
    /// As [`Write`](Self::Write), and do what follows a completion; `state` is Completed.
    Complete,
}

/// Compares the tree in itself, and what the job shows of it.
///
/// `tree` is what is stored, `None` for nothing. Unless the findings are to be corrected, `state` and `tree` may be
/// different afterwards and are not to be written.
#[must_use]
pub fn check_progress(
    job: &JobKey,
    state: &mut JobState,
    tree: Option<&mut Tree>,
    findings: &mut Findings,
) -> ProgressRepair {
    let found = findings.count();
    if !state.status.keeps_progress() {
        let dropped = tree.is_some() && findings.note(job, "progress", "kept", "dropped");
        return if dropped { ProgressRepair::Drop } else { ProgressRepair::None };
    }
    let Some(tree) = tree else {
        if findings.compare(job, "percentage", &state.percentage, &Percentage::ZERO) {
            state.percentage = Percentage::ZERO;
            return ProgressRepair::Write;
        }
        return ProgressRepair::None;
    };
    tree.recount(|task, what, stored, counted| {
        findings.note_task(job, task, what, stored, counted);
    });
    if findings.compare(job, "percentage", &state.percentage, &tree.percentage()) {
        state.percentage = tree.percentage();
    }
    if findings.compare(job, "subtasks", &state.subtasks, &tree.counts()) {
        state.subtasks = tree.counts();
    }
    if tree.is_complete() && findings.note(job, "status", state.status, JobStatus::Completed) {
        state.apply(Event::AllCompleted, state.last_update_time);
        state.percentage = Percentage::FULL;
        return ProgressRepair::Complete;
    }
    if findings.repair && findings.count() > found { ProgressRepair::Write } else { ProgressRepair::None }
}

/// The outbox entry of a first message as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstEntry {
    /// When it may be taken.
    pub due: Option<Timestamp>,
    /// Whether it is held.
    pub held: bool,
    /// How many prerequisites it waits for, if it counts them itself.
    pub unmet: Option<usize>,
}

/// What is stored of a job beside its state: who it waits for, and what of it waits to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// How many prerequisites are unmet.
    pub unmet: usize,
    /// Its wait after the last of them.
    pub delay: Duration,
    /// When it was created.
    pub create_time: Timestamp,
    /// The entry of its first message, if it is in the outbox.
    pub first: Option<FirstEntry>,
    /// Whether the first message could be put back there.
    pub task_kept: bool,
    /// How many kept messages there are.
    pub kept: usize,
    /// How many of those are held.
    pub kept_held: usize,
}

/// What a store is to do about what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutgoingRepair {
    /// The job waits for nobody.
    ForgetPrerequisites,
    /// Its entries go.
    RemoveEntries,
    /// Its entries are all held, or none is.
    Hold(bool),
    /// The entry of its first message is due then, as far as it waits for nobody.
    Due(Option<Timestamp>),
    /// The entry of its first message is put back, due then.
    PutBack(Option<Timestamp>),
}

/// Compares what waits to be published with its job: invariants 4 and 5.
///
/// It belongs to a live job, is held exactly while that is paused, is due exactly when nothing is waited for, and is
/// there as long as the job has not been dispatched.
#[must_use]
pub fn check_outgoing(
    job: &JobKey,
    state: &JobState,
    stored: &Outgoing,
    findings: &mut Findings,
) -> Vec<OutgoingRepair> {
    let mut repairs = Vec::new();
    let mut wrong = |repair, is_corrected| {
        if is_corrected {
            repairs.push(repair);
        }
    };
    if state.status.is_finished() {
        if stored.unmet > 0 {
            let note = findings.note(job, "prerequisites", stored.unmet, "none of a finished job");
            wrong(OutgoingRepair::ForgetPrerequisites, note);
        }
        let entries = stored.kept + usize::from(stored.first.is_some());
        if entries > 0 {
            let note = findings.note(job, "outbox entries", entries, "none of a finished job");
            wrong(OutgoingRepair::RemoveEntries, note);
        }
        return repairs;
    }
    let held = state.status.holds_messages();
    let expected_held = if held { stored.kept } else { 0 };
    if stored.first.is_some_and(|first| first.held != held) || stored.kept_held != expected_held {
        wrong(OutgoingRepair::Hold(held), findings.note(job, "held", !held, held));
    }
    let expected = dependency::due(stored.unmet, stored.delay, stored.create_time);
    match stored.first {
        Some(first) => {
            let miscounted = first.unmet.filter(|unmet| *unmet != stored.unmet);
            let mut note = miscounted
                .is_some_and(|unmet| findings.note(job, "unmet prerequisites", unmet, stored.unmet));
            if first.due.is_some() != expected.is_some() {
                note |= findings.note(job, "due", first.due, expected);
            }
            wrong(OutgoingRepair::Due(first.due.filter(|_| expected.is_some()).or(expected)), note);
        }
        None if !state.is_dispatched() => {
            // Without its task there is nothing to repair it from.
            let note = findings.note(job, "first message", "missing", "in the outbox");
            wrong(OutgoingRepair::PutBack(expected), note && stored.task_kept);
        }
        None => {}
    }
    repairs
}
