//! What the demo has seen of one job so far: pure, so that it can be tested without a clock or a server.

use std::time::Duration;

use job_core::Timestamp;

use super::client::JobView;

/// A failed job is taken as over when nothing has changed for this long.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// A job that is watched, with its latest answer.
#[derive(Debug)]
pub(super) struct ObservedJob {
    pub(super) id: &'static str,
    pub(super) latest: Option<JobView>,
    /// The highest percentage seen, which is what is shown.
    highest: Option<f64>,
    /// By how much a percentage may be too high while parts of the job are being split.
    guess: f64,
    changed: Timestamp,
}

/// The percentage of a job went down by more than a part of unknown size explains.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fall {
    pub(super) job: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl std::fmt::Display for Fall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the progress of {} fell from {:.2}% to {:.2}%", self.job, self.from, self.to)
    }
}

impl ObservedJob {
    pub(super) const fn new(id: &'static str, now: Timestamp) -> Self {
        Self { id, latest: None, highest: None, guess: 0.0, changed: now }
    }

    /// A part of a job whose size is not known yet counts as nearly complete with its first subtasks, and corrects itself
    /// later: `percentage` is what the parts that are being split at once may be worth.
    pub(super) const fn with_guess(mut self, percentage: f64) -> Self {
        self.guess = percentage;
        self
    }

    /// Takes in an answer; says so when it is behind an earlier one.
    pub(super) fn observe(&mut self, answer: JobView, now: Timestamp) -> Option<Fall> {
        let percentage = percentage(&answer);
        let fell = self.highest.zip(percentage).filter(|(highest, now)| *now < highest - self.guess);
        self.highest = self.highest.into_iter().chain(percentage).reduce(f64::max);
        if self.latest.as_ref() != Some(&answer) {
            self.changed = now;
            self.latest = Some(answer);
        }
        fell.map(|(from, to)| Fall { job: self.id, from, to })
    }

    /// How far it is; unknown while it is still being split, when any figure would only be a guess. Never falls.
    pub(super) const fn percentage(&self) -> Option<f64> {
        self.highest
    }

    /// Whether nothing more will happen. A job fails with its first failed subtask, and the others go on.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        let Some(answer) = &self.latest else { return false };
        match answer.status.as_str() {
            "Completed" | "Cancelled" => true,
            // Its own task failed, or a job that it waited for.
            "Failed" if answer.subtasks.failed == 0 => true,
            "Failed" => {
                let subtasks = answer.subtasks;
                subtasks.total.is_some_and(|total| subtasks.completed + subtasks.failed >= total)
                    || now.since(self.changed) >= QUIET_MAX
            }
            _ => false,
        }
    }

    pub(super) fn is_completed(&self) -> bool {
        self.latest.as_ref().is_some_and(|answer| answer.status == "Completed")
    }
}

fn percentage(answer: &JobView) -> Option<f64> {
    let known = answer.subtasks.total.is_some() || answer.status == "Completed";
    known.then_some(answer.percentage_complete)
}

#[cfg(test)]
mod tests {
    use super::super::client::SubtaskView;
    use super::*;

    fn answer(status: &str, percentage: f64, total: Option<u64>, completed: u64, failed: u64) -> JobView {
        JobView {
            status: status.to_owned(),
            percentage_complete: percentage,
            failure_count: 0,
            subtasks: SubtaskView { total, completed, failed },
        }
    }

    const START: Timestamp = Timestamp::from_millis(0);

    #[test]
    fn a_fall_is_noticed_once_the_size_is_known() {
        let mut job = ObservedJob::new("j", START);
        assert_eq!(job.observe(answer("Active", 50.0, None, 1, 0), START), None);
        assert_eq!(job.percentage(), None);
        assert_eq!(job.observe(answer("Active", 20.0, Some(5), 1, 0), START), None);
        assert_eq!(job.observe(answer("Active", 20.0, Some(5), 1, 0), START), None);
        let fall = job.observe(answer("Active", 10.0, Some(10), 1, 0), START);
        assert_eq!(fall, Some(Fall { job: "j", from: 20.0, to: 10.0 }));
    }

    #[test]
    fn a_part_of_unknown_size_may_correct_itself() {
        let mut job = ObservedJob::new("j", START).with_guess(1.0);
        job.observe(answer("Active", 20.5, Some(100), 20, 0), START);
        assert_eq!(job.observe(answer("Active", 20.1, Some(100), 20, 0), START), None);
        assert_eq!(job.percentage(), Some(20.5), "what is shown does not fall");
        assert!(job.observe(answer("Active", 19.0, Some(100), 20, 0), START).is_some());
    }

    #[test]
    fn a_failed_job_is_over_when_its_other_subtasks_are() {
        let mut job = ObservedJob::new("j", START);
        job.observe(answer("Failed", 30.0, Some(3), 1, 1), START);
        assert!(!job.is_over(START));
        job.observe(answer("Failed", 60.0, Some(3), 2, 1), START);
        assert!(job.is_over(START));
        assert!(!job.is_completed());
    }

    #[test]
    fn a_job_without_failed_subtasks_failed_as_a_whole() {
        let mut job = ObservedJob::new("j", START);
        job.observe(answer("Failed", 0.0, None, 0, 0), START);
        assert!(job.is_over(START));
    }

    #[test]
    fn a_failed_job_of_unknown_size_is_over_when_it_is_quiet() {
        let mut job = ObservedJob::new("j", START);
        job.observe(answer("Failed", 0.0, None, 0, 1), START);
        assert!(!job.is_over(START.saturating_add(Duration::from_secs(4))));
        assert!(job.is_over(START.saturating_add(Duration::from_secs(5))));
    }
}
