//! How often the checks are made, and how many must agree before the answer changes.
//!
//! Checks are made when somebody asks; the schedule says how old a result may be. Pure: the time comes in.

use std::time::Duration;

use job_core::Timestamp;

/// When one kind of check is made and believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSchedule {
    /// How long after the start nothing is checked, and the answer is no.
    pub initial_delay: Duration,
    /// How long a good result stands.
    pub check_interval: Duration,
    /// How long a bad result stands.
    pub downtime_interval: Duration,
    /// Bad results in a row that make what was well ill; at least 1.
    pub failure_attempts: u32,
    /// Good results in a row that make what was ill well; at least 1.
    pub success_attempts: u32,
}

impl Default for CheckSchedule {
    /// The truth, at most a second old, and at the start sooner.
    fn default() -> Self {
        Self {
            initial_delay: Duration::ZERO,
            check_interval: Duration::from_secs(1),
            downtime_interval: Duration::from_millis(250),
            failure_attempts: 1,
            success_attempts: 1,
        }
    }
}

impl CheckSchedule {
    /// Whether a result of `checked` is too old at `now`.
    pub(super) fn is_stale(&self, healthy: bool, checked: Timestamp, now: Timestamp) -> bool {
        now.since(checked) >= if healthy { self.check_interval } else { self.downtime_interval }
    }
}

/// What is believed of one check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Belief {
    /// None before the first check.
    well: Option<bool>,
    /// Results in a row that contradict it.
    against: u32,
    /// What was wrong when something last was.
    problem: Option<String>,
}

impl Belief {
    /// Takes a result in. The first is believed at once.
    pub(super) fn learn(&mut self, problem: Option<String>, schedule: &CheckSchedule) {
        let well = problem.is_none();
        if problem.is_some() {
            self.problem = problem;
        }
        if self.well == Some(well) {
            self.against = 0;
            return;
        }
        self.against += 1;
        let needed = match self.well {
            None => 1,
            Some(true) => schedule.failure_attempts,
            Some(false) => schedule.success_attempts,
        };
        if self.against >= needed {
            (self.well, self.against) = (Some(well), 0);
        }
    }

    /// What is wrong, if anything is believed to be.
    pub(super) fn problem(&self) -> Option<String> {
        match self.well {
            Some(true) => None,
            Some(false) => Some(self.problem.clone().unwrap_or_else(|| "it failed".to_owned())),
            None => Some("not checked yet".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_changes_when_enough_results_agree() {
        let schedule = CheckSchedule { failure_attempts: 3, success_attempts: 2, ..CheckSchedule::default() };
        let mut belief = Belief::default();
        assert_eq!(belief.problem().as_deref(), Some("not checked yet"));
        let mut learn = |well: bool| {
            belief.learn((!well).then(|| "down".to_owned()), &schedule);
            belief.problem().is_none()
        };
        let results = [true, false, false, true, false, false, false, true, false, true, true];
        let shown = [true, true, true, true, true, true, false, false, false, false, true];
        assert_eq!(results.map(&mut learn), shown);
    }

    #[test]
    fn results_grow_old_by_their_kind() {
        let schedule = CheckSchedule {
            check_interval: Duration::from_secs(60),
            downtime_interval: Duration::from_secs(5),
            ..CheckSchedule::default()
        };
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        assert!(!schedule.is_stale(true, at(0), at(59)) && schedule.is_stale(true, at(0), at(60)));
        assert!(!schedule.is_stale(false, at(0), at(4)) && schedule.is_stale(false, at(0), at(5)));
    }
}
