//! Recording what workers report, and what follows for the jobs that wait.

use std::collections::HashMap;

use job_core::dependency::{due, transitive_dependents};
use job_core::recording::{RecordOutcome, Recording, record};
use job_core::store::{Recorded, TaskReport};
use job_core::{Failure, JobKey, TaskPath, Timestamp, Transition};

use crate::state::State;

impl State {
    pub(crate) fn record(&mut self, reports: &[TaskReport], now: Timestamp) -> Recorded {
        let mut recorded =
            Recorded { outcomes: vec![RecordOutcome::UnknownJob; reports.len()], ..Recorded::default() };
        for (key, places) in by_job(reports) {
            let Some(recording) = self.record_job(key, &places, reports, now) else { continue };
            for (place, outcome) in places.iter().zip(&recording.outcomes) {
                recorded.outcomes[*place] = *outcome;
            }
            recorded.anomalies.extend(recording.anomalies.into_iter().map(|anomaly| (key.clone(), anomaly)));
            // A failure that was over within the batch is of no interest to anybody.
            if recording.completed {
                self.follow_status(key);
                recorded.completed.push(key.clone());
                recorded.released_due =
                    recorded.released_due.into_iter().chain(self.release_dependents(key, now)).min();
            } else if let Some(failure) = recording.failed {
                self.follow_status(key);
                recorded.failed.push(key.clone());
                recorded.failed.extend(self.fail_dependents(key, &failure, now));
            }
        }
        recorded
    }

    fn record_job(
        &mut self,
        key: &JobKey,
        places: &[usize],
        reports: &[TaskReport],
        now: Timestamp,
    ) -> Option<Recording> {
        self.partitions.get_mut(&key.partition)?.change(&key.job, |job, state| {
            let mut tree = job.tree.take().unwrap_or_default();
            let reports = places.iter().map(|place| (&reports[*place].task, &reports[*place].event));
            let mut recording = record(state, &mut tree, reports, now);
            job.tree = state.status.keeps_progress().then_some(tree);
            for task in &recording.recovered {
                job.failures.remove_within(task);
            }
            for (task, failure) in recording.failures.drain(..) {
                job.failures.push(task, failure);
            }
            recording
        })
    }

    /// The dependents of a job that completed lose that prerequisite. Returns when the earliest that waits for nobody
    /// now is due.
    pub(crate) fn release_dependents(&mut self, key: &JobKey, now: Timestamp) -> Option<Timestamp> {
        let partition = self.partitions.get_mut(&key.partition)?;
        let mut earliest: Option<Timestamp> = None;
        for dependent in partition.release_dependents(&key.job) {
            let Some(job) = partition.job(&dependent) else { continue };
            if let Some(at) = due(job.unmet.len(), job.shown.delay, now) {
                self.outbox.set_due(job.start_entry, Some(at));
                earliest = earliest.into_iter().chain([at]).min();
            }
        }
        earliest
    }

    /// Everybody who waits for a job that failed fails with it. Returns those jobs.
    fn fail_dependents(&mut self, root: &JobKey, failure: &Failure, now: Timestamp) -> Vec<JobKey> {
        let Some(partition) = self.partitions.get_mut(&root.partition) else { return Vec::new() };
        let dependents = transitive_dependents(&root.job, |job| partition.dependents_of(job));
        let failure = failure.caused_by(root);
        let mut failed = Vec::new();
        for dependent in dependents {
            let Some(partition) = self.partitions.get_mut(&root.partition) else { break };
            let transition = partition.change(&dependent, |job, state| {
                let transition = state.fail_by_prerequisite(now);
                if matches!(transition, Transition::To(_)) {
                    // It never ran: what was counted of it goes with the percentage.
                    job.tree = None;
                    job.failures.push(TaskPath::root(), failure.clone());
                }
                transition
            });
            if matches!(transition, Some(Transition::To(_))) {
                let key = JobKey::new(root.partition.clone(), dependent);
                self.follow_status(&key);
                failed.push(key);
            }
        }
        failed
    }
}

/// The places of each job's reports, jobs in the order of their first report.
fn by_job(reports: &[TaskReport]) -> Vec<(&JobKey, Vec<usize>)> {
    let mut groups: Vec<(&JobKey, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<&JobKey, usize> = HashMap::new();
    let mut current = 0;
    for (place, report) in reports.iter().enumerate() {
        // Reports of one job mostly come together.
        if groups.get(current).is_none_or(|(key, _)| **key != report.job) {
            current = *group_of.entry(&report.job).or_insert_with(|| {
                groups.push((&report.job, Vec::new()));
                groups.len() - 1
            });
        }
        groups[current].1.push(place);
    }
    groups
}
