//! One partition: its jobs by id, and beside them what finds them otherwise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use job_core::recording::JobState;
use job_core::{Blocker, Job, JobId, JobStatus, Timestamp};

use crate::stored_job::StoredJob;

#[derive(Debug, Default)]
pub(crate) struct Partition {
    jobs: BTreeMap<JobId, Box<StoredJob>>,
    /// Ids by time of creation: the order most listings are read in.
    created: BTreeMap<Timestamp, BTreeSet<JobId>>,
    /// Finished jobs by the time they finished: the order in which they are pruned.
    finished: BTreeSet<(Timestamp, JobId)>,
    counts: HashMap<JobStatus, u64>,
    /// For each job that is waited for, whether it exists or not, who waits.
    dependents: HashMap<JobId, BTreeSet<JobId>>,
}

impl Partition {
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(crate) fn job(&self, id: &JobId) -> Option<&StoredJob> {
        self.jobs.get(id).map(|job| &**job)
    }

    /// Everything about a job except its [`JobState`], which only [`change`](Self::change) may touch.
    pub(crate) fn job_mut(&mut self, id: &JobId) -> Option<&mut StoredJob> {
        self.jobs.get_mut(id).map(|job| &mut **job)
    }

    /// The job as it is read back.
    pub(crate) fn read(&self, id: &JobId) -> Option<Job> {
        let stored = self.job(id)?;
        let status = |job: &JobId| self.job(job).map(|prerequisite| prerequisite.shown.status);
        let mut job = stored.shown.clone();
        job.failures = stored.failures.shown();
        job.failure_count = stored.failures.count();
        job.blocked_by =
            stored.unmet.iter().map(|id| Blocker { job: id.clone(), status: status(id) }).collect();
        job.dispatch_problem = stored.problems.values().next().cloned();
        Some(job)
    }

    pub(crate) fn insert(&mut self, job: StoredJob) {
        let id = job.shown.key.job.clone();
        for prerequisite in &job.unmet {
            self.dependents.entry(prerequisite.clone()).or_default().insert(id.clone());
        }
        self.created.entry(job.shown.create_time).or_default().insert(id.clone());
        self.index(&id, &job.state());
        self.jobs.insert(id, Box::new(job));
    }

    pub(crate) fn remove(&mut self, id: &JobId) -> Option<StoredJob> {
        self.wait_for_nobody(id);
        let job = *self.jobs.remove(id)?;
        self.unindex(id, &job.state());
        if let Some(ids) = self.created.get_mut(&job.shown.create_time) {
            ids.remove(id);
            if ids.is_empty() {
                self.created.remove(&job.shown.create_time);
            }
        }
        Some(job)
    }

    /// Lets `change` work on a job and its state, and keeps the orders true.
    pub(crate) fn change<T>(
        &mut self,
        id: &JobId,
        change: impl FnOnce(&mut StoredJob, &mut JobState) -> T,
    ) -> Option<T> {
        let job = self.jobs.get_mut(id)?;
        let before = job.state();
        let mut after = before.clone();
        let result = change(job, &mut after);
        job.set_state(&after);
        if (before.status, before.finish_time) != (after.status, after.finish_time) {
            self.unindex(id, &before);
            self.index(id, &after);
        }
        Some(result)
    }

    fn index(&mut self, id: &JobId, state: &JobState) {
        *self.counts.entry(state.status).or_default() += 1;
        self.finished.extend(state.finish_time.map(|time| (time, id.clone())));
    }

    fn unindex(&mut self, id: &JobId, state: &JobState) {
        if let Some(count) = self.counts.get_mut(&state.status) {
            *count -= 1;
        }
        if let Some(time) = state.finish_time {
            self.finished.remove(&(time, id.clone()));
        }
    }

    /// How many jobs have each status.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (JobStatus, u64)> {
        self.counts.iter().map(|(status, count)| (*status, *count)).filter(|(_, count)| *count > 0)
    }

    /// Jobs in id order behind `after` whose ids begin with `prefix`.
    pub(crate) fn by_id<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a JobId>,
    ) -> impl Iterator<Item = &'a StoredJob> {
        let first = JobId::new(prefix).ok();
        // A prefix that cannot begin a job id begins none.
        let impossible = first.is_none() && !prefix.is_empty();
        let start = match (&first, after) {
            (Some(first), Some(after)) if after < first => Bound::Included(first),
            (_, Some(after)) => Bound::Excluded(after),
            (Some(first), None) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        let range = self.jobs.range::<JobId, _>((start, Bound::Unbounded));
        range.take_while(move |(id, _)| !impossible && id.as_str().starts_with(prefix)).map(|(_, job)| &**job)
    }

    /// Ids by time of creation.
    pub(crate) fn created(&self) -> &BTreeMap<Timestamp, BTreeSet<JobId>> {
        &self.created
    }

    /// Finished jobs, those that finished first before the others.
    pub(crate) fn finished(&self) -> impl Iterator<Item = (Timestamp, &StoredJob)> {
        self.finished.iter().filter_map(|(time, id)| Some((*time, self.job(id)?)))
    }

    pub(crate) fn is_waited_for(&self, id: &JobId) -> bool {
        self.dependents.contains_key(id)
    }

    pub(crate) fn is_dependent(&self, prerequisite: &JobId, dependent: &JobId) -> bool {
        self.dependents.get(prerequisite).is_some_and(|dependents| dependents.contains(dependent))
    }

    pub(crate) fn unmet_of(&self, id: &JobId) -> Vec<JobId> {
        self.job(id).map_or_else(Vec::new, |job| job.unmet.iter().cloned().collect())
    }

    pub(crate) fn dependents_of(&self, id: &JobId) -> Vec<JobId> {
        self.dependents.get(id).map_or_else(Vec::new, |dependents| dependents.iter().cloned().collect())
    }

    /// Nobody waits for `id` any more; returns who did.
    pub(crate) fn release_dependents(&mut self, id: &JobId) -> BTreeSet<JobId> {
        let dependents = self.dependents.remove(id).unwrap_or_default();
        for dependent in &dependents {
            if let Some(job) = self.jobs.get_mut(dependent) {
                job.unmet.remove(id);
            }
        }
        dependents
    }

    /// The job does not wait for anybody any more.
    pub(crate) fn wait_for_nobody(&mut self, id: &JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        for prerequisite in std::mem::take(&mut job.unmet) {
            self.forget_dependent(&prerequisite, id);
        }
    }

    pub(crate) fn forget_dependent(&mut self, prerequisite: &JobId, dependent: &JobId) {
        if let Some(dependents) = self.dependents.get_mut(prerequisite) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(prerequisite);
            }
        }
    }

    pub(crate) fn remember_dependent(&mut self, prerequisite: &JobId, dependent: &JobId) {
        self.dependents.entry(prerequisite.clone()).or_default().insert(dependent.clone());
    }

    /// Every edge as (prerequisite, dependent), from the side of the prerequisites.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (&JobId, &JobId)> {
        self.dependents.iter().flat_map(|(id, dependents)| dependents.iter().map(move |job| (id, job)))
    }
}
