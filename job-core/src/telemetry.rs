//! What the engine tells whoever watches it: numbers, through the `metrics` facade, once per batch and not per report,
//! but for what is refused, of which there should be nothing.
//!
//! An application that installs a recorder receives them; without one they cost next to nothing. Their names and meanings
//! are in `docs/operations.md`.

use std::time::Duration;

use metrics::{counter, histogram};

use crate::queue::PublishOutcome;
use crate::recording::RecordOutcome;
use crate::store::Recorded;
use crate::stower::StowerCounts;

/// Why something on the tracking queue was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RefusalReason {
    /// It is no task message.
    Unreadable,
    /// It is one, and its report makes no sense.
    Malformed,
    /// The store refuses its report for good.
    Store,
}

impl RefusalReason {
    const fn label(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Malformed => "malformed",
            Self::Store => "store",
        }
    }
}

pub(crate) fn refused(reason: RefusalReason) {
    counter!("job_service_tracker_refused_total", "reason" => reason.label()).increment(1);
}

pub(crate) fn recorded(recorded: &Recorded) {
    let mut counts =
        [("counted", 0), ("duplicate", 0), ("unknown_job", 0), ("finished_job", 0), ("damaged_job", 0)];
    for outcome in &recorded.outcomes {
        counts[match outcome {
            RecordOutcome::Counted => 0,
            RecordOutcome::Duplicate => 1,
            RecordOutcome::UnknownJob => 2,
            RecordOutcome::FinishedJob => 3,
            RecordOutcome::DamagedJob => 4,
        }]
        .1 += 1;
    }
    for (outcome, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        counter!("job_service_tracker_reports_total", "outcome" => outcome).increment(count);
    }
    for (status, jobs) in [("completed", &recorded.completed), ("failed", &recorded.failed)] {
        if !jobs.is_empty() {
            counter!("job_service_jobs_finished_total", "status" => status).increment(jobs.len() as u64);
        }
    }
}

/// Jobs were not created because their partition has all the live jobs it may have.
pub(crate) fn creates_refused(jobs: usize) {
    counter!("job_service_creates_refused_total", "reason" => "live_jobs").increment(jobs as u64);
}

/// A tracker's batch is settled.
pub(crate) fn tracked(deliveries: usize, handed_back: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a batch is small")]
    histogram!("job_service_tracker_batch_deliveries").record(deliveries as f64);
    histogram!("job_service_tracker_batch_duration_seconds").record(took);
    counter!("job_service_tracker_deliveries_total", "outcome" => "acked")
        .increment((deliveries - handed_back) as u64);
    if handed_back > 0 {
        counter!("job_service_tracker_deliveries_total", "outcome" => "handed_back")
            .increment(handed_back as u64);
    }
}

/// A dispatcher's batch was published.
pub(crate) fn dispatched(outcomes: &[PublishOutcome]) {
    let mut counts = [("published", 0), ("unroutable", 0), ("refused", 0)];
    for outcome in outcomes {
        counts[match outcome {
            PublishOutcome::Confirmed => 0,
            PublishOutcome::Unroutable => 1,
            PublishOutcome::Refused { .. } => 2,
        }]
        .1 += 1;
    }
    for (outcome, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        counter!("job_service_dispatched_messages_total", "outcome" => outcome).increment(count);
    }
}

/// A stower's batch is settled.
pub(crate) fn stowed(batch: StowerCounts) {
    let StowerCounts { kept, dropped, refused } = batch;
    for (outcome, count) in [("stowed", kept), ("dropped", dropped), ("refused", refused)] {
        if count > 0 {
            counter!("job_service_stowed_messages_total", "outcome" => outcome).increment(count);
        }
    }
}
