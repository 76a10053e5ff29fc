//! Recounting what is derived from something else, and correcting it.

use job_core::store::{Drift, VerifyRequest};
use job_core::verify::{
    Findings, FirstEntry, Outgoing, OutgoingRepair, ProgressRepair, check_outgoing, check_progress,
};
use job_core::{JobId, JobKey, PartitionId, TaskPath};

use crate::state::State;

impl State {
    pub(crate) fn verify(&mut self, request: &VerifyRequest) -> Vec<Drift> {
        let Some(partition) = self.partitions.get(&request.partition) else { return Vec::new() };
        let keys: Vec<JobKey> = match &request.job {
            Some(id) => partition.job(id).map(|job| job.shown.key.clone()).into_iter().collect(),
            None => partition.by_id("", None).map(|job| job.shown.key.clone()).collect(),
        };
        let mut findings = Findings::new(request.repair);
        for key in &keys {
            self.verify_progress(key, &mut findings);
            self.verify_edges(key, &mut findings);
            self.verify_entries(key, &mut findings);
        }
        if request.job.is_none() {
            self.verify_strays(&request.partition, &mut findings);
        }
        findings.into_drifts()
    }

    /// The tree in itself, and what the job shows of it.
    fn verify_progress(&mut self, key: &JobKey, findings: &mut Findings) {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return };
        let completes = partition.change(&key.job, |job, state| {
            // Checking must not change anything, so it happens to copies.
            let (mut checked, mut tree) = (state.clone(), job.tree.clone());
            let repair = check_progress(key, &mut checked, tree.as_deref_mut(), findings);
            match repair {
                ProgressRepair::None => return None,
                ProgressRepair::Drop => job.tree = None,
                ProgressRepair::Write => job.tree = tree,
                ProgressRepair::Complete => job.failures.remove_within(&TaskPath::root()),
            }
            *state = checked;
            (repair == ProgressRepair::Complete).then_some(state.last_update_time)
        });
        if let Some(Some(now)) = completes {
            self.follow_status(key);
            self.release_dependents(key, now);
        }
    }

    /// Who the job waits for, seen from both sides.
    fn verify_edges(&mut self, key: &JobKey, findings: &mut Findings) {
        let Some(partition) = self.partitions.get_mut(&key.partition) else { return };
        for prerequisite in partition.unmet_of(&key.job) {
            let known = partition.is_dependent(&prerequisite, &key.job);
            if !known && findings.note(key, "prerequisite", &prerequisite, "known as waited for") {
                partition.remember_dependent(&prerequisite, &key.job);
            }
        }
    }

    /// What waits to be published.
    fn verify_entries(&mut self, key: &JobKey, findings: &mut Findings) {
        let Some(job) = self.job(key) else { return };
        let facts = |id: &u64| self.outbox.facts(*id);
        let missing: Vec<u64> = job.entries.iter().copied().filter(|id| facts(id).is_none()).collect();
        let kept = job.entries.iter().filter(|id| **id != job.start_entry).filter_map(facts);
        let first = job.entries.get(&job.start_entry).and_then(facts);
        let stored = Outgoing {
            unmet: job.unmet.len(),
            delay: job.shown.delay,
            create_time: job.shown.create_time,
            first: first.map(|entry| FirstEntry { due: entry.due, held: entry.held, unmet: None }),
            task_kept: job.first_message.is_some(),
            kept: kept.clone().count(),
            kept_held: kept.filter(|entry| entry.held).count(),
        };
        let (state, start) = (job.state(), job.start_entry);
        for entry in &missing {
            findings.note(key, "outbox entry", entry, "in the outbox");
        }
        for repair in check_outgoing(key, &state, &stored, findings) {
            match repair {
                OutgoingRepair::ForgetPrerequisites
                | OutgoingRepair::RemoveEntries
                | OutgoingRepair::Hold(_) => {
                    self.follow_status(key);
                }
                OutgoingRepair::Due(due) => self.outbox.set_due(start, due),
                OutgoingRepair::PutBack(due) => self.put_back(key, due),
            }
        }
    }

    /// Entries and edges that no job of the partition knows of.
    fn verify_strays(&mut self, id: &PartitionId, findings: &mut Findings) {
        let knows = |key: &JobKey, entry| self.job(key).is_some_and(|job| job.entries.contains(&entry));
        let entries: Vec<(u64, JobKey)> = self
            .outbox
            .all_facts()
            .map(|(entry, facts)| (entry, facts.job))
            .filter(|(entry, key)| key.partition == *id && !knows(key, *entry))
            .collect();
        for (entry, key) in entries {
            if findings.note(&key, "outbox entry", entry, "of a live job") {
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
            if findings.note(&key, "waited for", &prerequisite, "an unmet prerequisite") {
                partition.forget_dependent(&prerequisite, &key.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use job_core::progress::{Percentage, ReportEvent};
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
    fn a_first_message_that_is_missing_is_found_and_put_back() {
        let spoil = |state: &mut State| {
            let job = partition(state).job_mut(&key("a").job).unwrap();
            let entry = job.start_entry;
            job.entries.clear();
            state.outbox.remove(entry);
        };
        spoiled(store(&[("a", &[])]), spoil, "first message");
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
