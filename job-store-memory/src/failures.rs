//! The failures of one job: all of them, in order of arrival, found by task when they are over.

use std::collections::BTreeMap;

use job_core::{FAILURES_SHOWN_MAX, Failure, TaskPath};

/// Failures by their place in the order of arrival; a place is never given out twice.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    last: u64,
    by_place: BTreeMap<u64, (TaskPath, Failure)>,
    /// Paths sort depth first, so a task and all below it are one range.
    by_task: BTreeMap<TaskPath, Vec<u64>>,
}

impl FailureLog {
    pub(crate) fn push(&mut self, task: TaskPath, failure: Failure) {
        self.last += 1;
        self.by_task.entry(task.clone()).or_default().push(self.last);
        self.by_place.insert(self.last, (task, failure));
    }

    /// Removes the failures of `task` and of everything below it.
    pub(crate) fn remove_within(&mut self, task: &TaskPath) {
        let over: Vec<TaskPath> = self
            .by_task
            .range(task..)
            .map(|(path, _)| path.clone())
            .take_while(|path| path.is_within(task))
            .collect();
        for path in over {
            for place in self.by_task.remove(&path).unwrap_or_default() {
                self.by_place.remove(&place);
            }
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.by_place.len() as u64
    }

    /// What a job shows directly.
    pub(crate) fn shown(&self) -> Vec<Failure> {
        self.by_place.values().take(FAILURES_SHOWN_MAX).map(|(_, failure)| failure.clone()).collect()
    }

    pub(crate) fn page(&self, after: u64, limit: usize) -> Vec<(u64, TaskPath, Failure)> {
        self.by_place
            .range(after.saturating_add(1)..)
            .take(limit)
            .map(|(place, (task, failure))| (*place, task.clone(), failure.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use job_core::Timestamp;

    fn failure(message: &str) -> Failure {
        Failure { id: "X".into(), time: Timestamp::default(), source: "w".into(), message: message.into() }
    }

    #[test]
    fn a_task_that_is_over_takes_what_is_below_it_along_and_nothing_else() {
        let mut log = FailureLog::default();
        for path in [".1", ".1.2", ".10", ".2", ".1.2.3", ""] {
            log.push(path.parse().unwrap(), failure(path));
        }
        log.remove_within(&".1".parse().unwrap());
        let left: Vec<_> =
            log.page(0, 9).into_iter().map(|(place, _, failure)| (place, failure.message)).collect();
        assert_eq!(left, [(3, ".10".to_owned()), (4, ".2".to_owned()), (6, String::new())]);
        log.push(".1".parse().unwrap(), failure("again"));
        assert_eq!(log.page(6, 9)[0].0, 7, "places are not used twice");
        log.remove_within(&TaskPath::root());
        assert_eq!((log.count(), log.by_task.len()), (0, 0));
    }
}
