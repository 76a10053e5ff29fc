//! Removing finished jobs.

use job_core::store::PruneRequest;
use job_core::{JobKey, JobStatus, Timestamp};

use crate::partition::Partition;
use crate::state::State;

impl State {
    pub(crate) fn prune(&mut self, request: &PruneRequest) -> u64 {
        let limit = request.limit.max(1) as usize;
        let mut oldest: Vec<(Timestamp, JobKey)> = match &request.partition {
            Some(id) => {
                self.partitions.get(id).into_iter().flat_map(|it| candidates(it, request, limit)).collect()
            }
            None => self.partitions.values().flat_map(|it| candidates(it, request, limit)).collect(),
        };
        oldest.sort_unstable();
        oldest.truncate(limit);
        oldest.iter().filter(|(_, key)| self.remove(key)).count() as u64
    }
}

/// The oldest jobs of a partition that are to go, as many as one step may remove.
fn candidates<'a>(
    partition: &'a Partition,
    request: &'a PruneRequest,
    limit: usize,
) -> impl Iterator<Item = (Timestamp, JobKey)> + 'a {
    let named = |status: JobStatus| status.is_finished() && request.statuses.contains(&status);
    partition
        .finished()
        .take_while(|(time, _)| *time < request.finished_before)
        .filter(move |(_, job)| named(job.shown.status))
        .filter(|(_, job)| request.label.as_ref().is_none_or(|label| job.shown.labels.contains_key(label)))
        .take(limit)
        .map(|(time, job)| (time, job.shown.key.clone()))
}
