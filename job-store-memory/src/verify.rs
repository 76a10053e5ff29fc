//! Recounting what is derived from something else, and correcting it.

use std::fmt::Debug;

use job_core::progress::Percentage;
use job_core::store::{Drift, VerifyRequest};
use job_core::{Event, JobId, JobKey, JobStatus, PartitionId, TaskPath};

use crate::state::State;

impl State {
    pub(crate) fn verify(&mut self, request: &VerifyRequest) -> Vec<Drift> {
        let Some(partition) = self.partitions.get(&request.partition) else { return Vec::new() };
        let keys: Vec<JobKey> = match &request.job {
            Some(id) => partition.job(id).map(|job| job.shown.key.clone()).into_iter().collect(),
            None => partition.by_id("", None).map(|job| job.shown.key.clone()).collect(),
        };
        let mut report = Report { drifts: Vec::new(), repair: request.repair };
        for key in &keys {
            self.verify_progress(key, &mut report);
            self.verify_edges(key, &mut report);
            self.verify_entries(key, &mut report);
        }
        if request.job.is_none() {
            self.verify_strays(&request.partition, &mut report);
        }
        report.drifts
    }

    /// The tree in itself, and what the job shows of it.
    fn verify_progress(&mut self, key: &JobKey, report: &mut Report) {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return };
        let now = partition.job(&key.job).map(|job| job.shown.last_update_time).unwrap_or_default();
        let completes = partition.change(&key.job, |job, state| {
            if !state.status.keeps_progress() {
                if job.tree.is_some() && report.note(key, "progress", "kept", "dropped") {
                    job.tree = None;
                }
                return false;
            }
            let Some(tree) = &job.tree else {
                if state.percentage != Percentage::ZERO
                    && report.note(key, "percentage", state.percentage, Percentage::ZERO)
                {
                    state.percentage = Percentage::ZERO;
                }
                return false;
            };
            // Checking must not change anything, so the sums are recounted in a copy.
            let mut recounted = tree.clone();
            recounted.recount(|task, what, stored, counted| {
                report.note_task(key, task, what, stored, counted);
            });
            if state.percentage != recounted.percentage()
                && report.note(key, "percentage", state.percentage, recounted.percentage())
            {
                state.percentage = recounted.percentage();
            }
            if state.subtasks != recounted.counts()
                && report.note(key, "subtasks", state.subtasks, recounted.counts())
            {
                state.subtasks = recounted.counts();
            }
            let complete = recounted.is_complete();
            if report.repair {
                job.tree = Some(recounted);
            }
            let completes = complete && report.note(key, "status", state.status, JobStatus::Completed);
            if completes {
                state.apply(Event::AllCompleted, now);
                state.percentage = Percentage::FULL;
                job.failures.remove_within(&TaskPath::root());
            }
            completes
        });
        if completes == Some(true) {
            self.follow_status(key);
            self.release_dependents(key, now);
        }
    }

    /// Who the job waits for, seen from both sides, and whether its first message is due accordingly.
    fn verify_edges(&mut self, key: &JobKey, report: &mut Report) {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return };
        let Some(job) = partition.job(&key.job) else { return };
        let is_finished = job.shown.status.is_finished();
        for prerequisite in partition.unmet_of(&key.job) {
            if is_finished {
                if report.note(key, "prerequisite", &prerequisite, "none of a finished job") {
                    partition.wait_for_nobody(&key.job);
                }
                continue;
            }
            let known = partition.is_dependent(&prerequisite, &key.job);
            if !known && report.note(key, "prerequisite", &prerequisite, "known as waited for") {
                partition.remember_dependent(&prerequisite, &key.job);
            }
        }
        let Some(job) = partition.job(&key.job) else { return };
        let (unmet, start) = (job.unmet.len(), job.start_entry);
        let Some(facts) = self.outbox.facts(start) else { return };
        if (unmet == 0) != facts.due.is_some() {
            let expected = if unmet == 0 { "a time" } else { "none while prerequisites are unmet" };
            if report.note(key, "due", facts.due, expected) {
                let due = job_core::dependency::due(unmet, job.shown.delay, job.shown.create_time);
                self.outbox.set_due(start, due);
            }
        }
    }

    /// Invariants 4 and 5: what waits to be published belongs to a live job, is held exactly while that is paused, and
    /// is there as long as the job has not been dispatched.
    fn verify_entries(&mut self, key: &JobKey, report: &mut Report) {
        let Some(job) = self.job(key) else { return };
        let status = job.shown.status;
        let held = status.holds_messages();
        let mut wrong = false;
        if status.is_finished() && !job.entries.is_empty() {
            wrong |= report.note(key, "outbox entries", job.entries.len(), 0);
        }
        for id in &job.entries {
            match self.outbox.facts(*id) {
                None => {
                    report.note(key, "outbox entry", id, "in the outbox");
                }
                Some(facts) if !status.is_finished() && facts.held != held => {
                    wrong |= report.note(key, "held", facts.held, held);
                }
                Some(_) => {}
            }
        }
        let waits_for_dispatch = !status.is_finished() && job.shown.start_time.is_none();
        if waits_for_dispatch && !job.entries.contains(&job.start_entry) {
            // The message itself went with the entry, so there is nothing to repair it from.
            report.note(key, "first message", "missing", "in the outbox");
        }
        if wrong {
            self.follow_status(key);
        }
    }

    /// Entries and edges that no job of the partition knows of.
    fn verify_strays(&mut self, id: &PartitionId, report: &mut Report) {
        let knows = |key: &JobKey, entry| self.job(key).is_some_and(|job| job.entries.contains(&entry));
        let entries: Vec<(u64, JobKey)> = self
            .outbox
            .all_facts()
            .map(|(entry, facts)| (entry, facts.job))
            .filter(|(entry, key)| key.partition == *id && !knows(key, *entry))
            .collect();
        for (entry, key) in entries {
            if report.note(&key, "outbox entry", entry, "of a live job") {
                self.outbox.remove(entry);
            }
        }
        let Some(partition) = self.partitions.get_mut(id) else { return };
        let edges: Vec<(JobId, JobId)> = partition
            .edges()
            .filter(|(prerequisite, dependent)| {
                partition.job(dependent).is_none_or(|job| !job.unmet.contains(prerequisite))
            })
            .map(|(prerequisite, dependent)| (prerequisite.clone(), dependent.clone()))
            .collect();
        for (prerequisite, dependent) in edges {
            let key = JobKey::new(id.clone(), dependent);
            if report.note(&key, "waited for", &prerequisite, "an unmet prerequisite") {
                partition.forget_dependent(&prerequisite, &key.job);
            }
        }
    }
}

struct Report {
    drifts: Vec<Drift>,
    repair: bool,
}

impl Report {
    /// Notes a contradiction about a job; returns whether it is to be corrected.
    fn note(&mut self, key: &JobKey, what: &str, stored: impl Debug, expected: impl Debug) -> bool {
        self.note_task(key, &TaskPath::root(), what, stored, expected)
    }

    fn note_task(
        &mut self,
        key: &JobKey,
        task: &TaskPath,
        what: &str,
        stored: impl Debug,
        expected: impl Debug,
    ) -> bool {
        self.drifts.push(Drift {
            job: key.clone(),
            task: task.clone(),
            what: what.to_owned(),
            stored: format!("{stored:?}"),
            expected: format!("{expected:?}"),
        });
        self.repair
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use job_core::progress::ReportEvent;
    use job_core::store::{CreateOutcome, TaskReport};
    use job_core::{AcceptedJob, Fingerprint, NewJob, TaskSpec, Timestamp};

    use super::*;

    fn key(id: &str) -> JobKey {
        JobKey::parse("p", id).unwrap()
    }

    fn store(jobs: &[(&str, &[&str])]) -> State {
        let mut state = State::default();
        for (id, prerequisites) in jobs {
            let task = TaskSpec {
                classifier: "W".into(),
                api_version: 1,
                data: Bytes::from_static(b"{}"),
                queue: "w-in".into(),
                target: None,
            };
            let job = NewJob::new(key(id), task).after(prerequisites.iter().map(|id| id.parse().unwrap()));
            let fingerprint = Fingerprint::of_job(&job);
            let accepted = AcceptedJob { job, fingerprint, task_id: Default::default(), suspended: false };
            assert_eq!(state.create(accepted, Timestamp::from_millis(1)), CreateOutcome::Created);
        }
        state
    }

    fn report(state: &mut State, id: &str, task: &str) {
        let report = TaskReport { job: key(id), task: task.parse().unwrap(), event: ReportEvent::Complete };
        state.record(&[report], Timestamp::from_millis(2));
    }

    fn request(repair: bool) -> VerifyRequest {
        VerifyRequest { partition: "p".parse().unwrap(), job: None, repair }
    }

    /// Spoils a store, and sees the drift named, untouched by a mere check, and gone after a repair.
    fn spoiled(mut state: State, spoil: impl FnOnce(&mut State), what: &str) {
        assert_eq!(state.verify(&request(false)), []);
        spoil(&mut state);
        let found = state.verify(&request(false));
        assert_eq!(found.iter().map(|drift| drift.what.as_str()).collect::<Vec<_>>(), [what]);
        assert_eq!(state.verify(&request(true)), found);
        assert_eq!(state.verify(&request(false)), []);
    }

    fn partition(state: &mut State) -> &mut crate::partition::Partition {
        state.partitions.get_mut(&"p".parse::<PartitionId>().unwrap()).unwrap()
    }

    #[test]
    fn a_wrong_percentage_is_found_and_corrected() {
        let mut state = store(&[("a", &[])]);
        report(&mut state, "a", ".1");
        let spoil = |state: &mut State| {
            partition(state).change(&key("a").job, |_, job| job.percentage = Percentage::ZERO);
        };
        spoiled(state, spoil, "percentage");
    }

    #[test]
    fn a_percentage_without_reports_is_found_and_corrected() {
        let spoil = |state: &mut State| {
            partition(state).change(&key("a").job, |_, job| job.percentage = Percentage::from_hundredths(1));
        };
        spoiled(store(&[("a", &[])]), spoil, "percentage");
    }

    #[test]
    fn wrong_subtask_counts_are_found_and_corrected() {
        let mut state = store(&[("a", &[])]);
        report(&mut state, "a", ".1");
        let spoil = |state: &mut State| {
            partition(state).change(&key("a").job, |_, job| job.subtasks.completed = 7);
        };
        spoiled(state, spoil, "subtasks");
    }

    #[test]
    fn an_edge_that_only_one_side_knows_is_found_and_corrected() {
        let forget = |state: &mut State| partition(state).forget_dependent(&key("a").job, &key("b").job);
        spoiled(store(&[("a", &[]), ("b", &["a"])]), forget, "prerequisite");
        let remember = |state: &mut State| partition(state).remember_dependent(&key("b").job, &key("a").job);
        spoiled(store(&[("a", &[]), ("b", &["a"])]), remember, "waited for");
    }

    #[test]
    fn a_message_held_for_no_reason_is_found_and_let_go() {
        let spoil = |state: &mut State| {
            let entry = state.job(&key("a")).unwrap().start_entry;
            state.outbox.hold(entry, true);
        };
        spoiled(store(&[("a", &[])]), spoil, "held");
    }

    #[test]
    fn a_message_that_is_never_due_is_found_and_made_due() {
        let spoil = |state: &mut State| {
            let entry = state.job(&key("a")).unwrap().start_entry;
            state.outbox.set_due(entry, None);
        };
        spoiled(store(&[("a", &[])]), spoil, "due");
    }

    #[test]
    fn a_message_that_no_job_knows_is_found_and_removed() {
        let spoil = |state: &mut State| {
            let job = partition(state).job_mut(&key("a").job).unwrap();
            job.entries.clear();
            job.shown.start_time = Some(Timestamp::from_millis(1));
        };
        spoiled(store(&[("a", &[])]), spoil, "outbox entry");
    }
}
