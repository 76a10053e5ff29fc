//! Storing a job.

use job_core::dependency::{Standing, check_cycle, due, standing};
use job_core::store::{CreateOutcome, OutboxContent};
use job_core::{AcceptedJob, JobId, Timestamp};

use crate::outbox::NewEntry;
use crate::state::State;
use crate::stored_job::StoredJob;

impl State {
    pub(crate) fn create(&mut self, accepted: AcceptedJob, now: Timestamp) -> CreateOutcome {
        let AcceptedJob { job, fingerprint, task_id, suspended } = accepted;
        if let Some(stored) = self.job(&job.key) {
            return if stored.fingerprint == fingerprint {
                CreateOutcome::Unchanged
            } else {
                CreateOutcome::Conflict
            };
        }
        let partition = self.partitions.entry(job.key.partition.clone()).or_default();
        let mut unmet: Vec<JobId> = Vec::new();
        let mut failed: Vec<JobId> = Vec::new();
        for prerequisite in &job.prerequisites {
            let status = partition.job(&prerequisite.job).map(|stored| stored.shown.status);
            match standing(prerequisite.pre_created, status) {
                Standing::Met => {}
                Standing::Unmet => unmet.push(prerequisite.job.clone()),
                Standing::Failed => failed.push(prerequisite.job.clone()),
            }
        }
        let refused = if failed.is_empty() {
            // A cycle closes only over somebody who waits for this job already, or over the job itself.
            let may_close = unmet.contains(&job.key.job) || partition.is_waited_for(&job.key.job);
            let closes = may_close.then(|| check_cycle(&job.key.job, &unmet, |id| partition.unmet_of(id)));
            closes.and_then(Result::err).map(CreateOutcome::Cycle)
        } else {
            Some(CreateOutcome::PrerequisitesFailed(failed))
        };
        if let Some(refused) = refused {
            if partition.is_empty() {
                self.partitions.remove(&job.key.partition);
            }
            return refused;
        }
        let first_message = OutboxContent::Start {
            task_id,
            task: job.task.clone(),
            correlation_id: job.correlation_id.clone(),
        };
        let entry = self.outbox.add(NewEntry {
            job: job.key.clone(),
            content: first_message.clone(),
            due: due(unmet.len(), job.delay, now),
            held: false,
            suspended,
        });
        partition.insert(StoredJob::new(
            job,
            fingerprint,
            unmet.into_iter().collect(),
            entry,
            first_message,
            now,
        ));
        CreateOutcome::Created
    }
}
