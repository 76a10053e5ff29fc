//! Letting `job-core` say what the reports do, without any I/O.

use std::collections::{HashMap, HashSet};

use job_core::dependency::transitive_dependents;
use job_core::recording::{RecordOutcome, Recording, record};
use job_core::store::Recorded;
use job_core::{Failure, JobId, JobKey, TaskPath, Transition};

use super::Record;
use super::load::LoadedJob;
use crate::dependents::Edges;
use crate::failures::FailureChanges;
use crate::progress_rows::{Broken, LoadedTree};

/// A job with what has become of it.
pub(crate) struct DecidedJob {
    pub(crate) job: LoadedJob,
    pub(crate) is_changed: bool,
    /// Tasks whose stored rows go, with everything below them; the job's own path for all of them.
    pub(crate) dropped: Vec<TaskPath>,
}

pub(crate) struct Decided {
    pub(crate) recorded: Recorded,
    pub(crate) jobs: HashMap<JobKey, DecidedJob>,
    pub(crate) failures: FailureChanges,
}

pub(super) fn decide(record: &Record<'_>, jobs: HashMap<JobKey, LoadedJob>, edges: &Edges) -> Decided {
    let mut decided = Decided {
        recorded: Recorded {
            outcomes: vec![RecordOutcome::UnknownJob; record.reports.len()],
            ..Recorded::default()
        },
        jobs: jobs
            .into_iter()
            .map(|(key, job)| (key, DecidedJob { job, is_changed: false, dropped: Vec::new() }))
            .collect(),
        failures: FailureChanges::default(),
    };
    for (key, reason) in &record.damaged {
        decided.damaged(record, key, reason);
    }
    for (key, places) in &record.groups {
        if let Some(recording) = decided.record(record, key, places) {
            for (place, outcome) in places.iter().zip(&recording.outcomes) {
                decided.recorded.outcomes[*place] = *outcome;
            }
            let anomalies = recording.anomalies.into_iter().map(|anomaly| ((*key).clone(), anomaly));
            decided.recorded.anomalies.extend(anomalies);
            // A failure that was over within the batch is of no interest to anybody.
            if recording.completed {
                decided.recorded.completed.push((*key).clone());
            } else if let Some(failure) = recording.failed {
                decided.recorded.failed.push((*key).clone());
                decided.fail_dependents(record, key, &failure, edges);
            }
        }
    }
    decided
}

impl Decided {
    fn record(&mut self, record_: &Record<'_>, key: &JobKey, places: &[usize]) -> Option<Recording> {
        let decided = self.jobs.get_mut(key)?;
        let LoadedJob { row, progress, broken, .. } = &mut decided.job;
        if let Some(Broken(reason)) = broken {
            let reason = reason.clone();
            self.damaged(record_, key, &reason);
            return None;
        }
        let reports = places.iter().map(|place| &record_.reports[*place]);
        let reports = reports.map(|report| (&report.task, &report.event));
        let mut recording = record(&mut row.state, &mut progress.tree, reports, record_.now);
        decided.is_changed |= recording.changed;
        for task in &recording.recovered {
            self.failures.end(row, task);
        }
        for (task, failure) in recording.failures.drain(..) {
            self.failures.add(row, task, failure);
        }
        let stored = recording.dropped.iter().filter(|task| task.depth() == 0 || progress.is_stored(task));
        decided.dropped.extend(stored.cloned());
        Some(recording)
    }

    /// A job that makes no sense: the reports about it go back to whoever can do something about it.
    fn damaged(&mut self, record: &Record<'_>, key: &JobKey, reason: &str) {
        // Jobs are locked that have no reports in the batch.
        let Some((_, places)) = record.groups.iter().find(|(reported, _)| *reported == key) else { return };
        tracing::error!(
            job.partition = %key.partition, job.id = %key.job, reason, reports = places.len(),
            "reports about a damaged job are set aside"
        );
        for place in places {
            self.recorded.outcomes[*place] = RecordOutcome::DamagedJob;
        }
        self.recorded.damaged.push((key.clone(), reason.to_owned()));
    }

    /// Everybody who waits for a job that failed fails with it, with the job's failure as the root cause.
    fn fail_dependents(&mut self, record: &Record<'_>, root: &JobKey, failure: &Failure, edges: &Edges) {
        let key_of = |job: JobId| JobKey::new(root.partition.clone(), job);
        // Who has finished waits for nobody any more, although the edges are still stored.
        let finished: HashSet<JobKey> = self
            .jobs
            .values()
            .filter(|decided| decided.job.row.state.status.is_finished())
            .map(|decided| decided.job.row.key.clone())
            .collect();
        let waiting = |job: &JobId| {
            let dependents = edges.dependents_of(&root.partition, job).iter();
            dependents.filter(|job| !finished.contains(&key_of((*job).clone()))).cloned().collect()
        };
        let dependents = transitive_dependents(&root.job, waiting);
        let failure = failure.caused_by(root);
        for dependent in dependents {
            let key = key_of(dependent);
            let Some(decided) = self.jobs.get_mut(&key) else { continue };
            let row = &mut decided.job.row;
            if matches!(row.state.fail_by_prerequisite(record.now), Transition::To(_)) {
                // It never ran: what was counted of it goes with the percentage.
                *decided.job.progress = LoadedTree::default();
                decided.job.broken = None;
                decided.dropped.push(TaskPath::root());
                decided.is_changed = true;
                row.progress = None;
                self.failures.add(row, TaskPath::root(), failure.clone());
                self.recorded.failed.push(key);
            }
        }
    }
}
