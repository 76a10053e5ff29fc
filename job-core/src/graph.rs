//! The jobs around a job: what it waits for, and what waits for it.
//!
//! Upwards, all prerequisites that a job was created with are edges. Downwards, those are that are unmet: a job that is complete
//! does not know who has waited for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::id::{JobId, JobKey, PartitionId};
use crate::job::Job;
use crate::lifecycle::JobStatus;
use crate::progress::Percentage;
use crate::store::JobStore;

/// How many jobs are read at once: each may carry a hundred failures.
const READ_AT_ONCE: usize = 20;
/// How many edges there may be for each job that is shown: a graph of all with all would be too large to look at.
const EDGES_PER_NODE_MAX: usize = 8;

/// A job of a [`DependencyGraph`].
#[derive(Debug, Clone, PartialEq)]
pub struct GraphNode {
    /// Its id.
    pub job: JobId,
    /// What is known of it; `None` when no job of that id exists, or no longer.
    pub known: Option<GraphJob>,
}

/// What a graph shows of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphJob {
    /// Display name.
    pub name: Option<String>,
    /// Its status.
    pub status: JobStatus,
    /// How much of it is complete.
    pub percentage: Percentage,
}

impl From<&Job> for GraphJob {
    fn from(job: &Job) -> Self {
        Self { name: job.name.clone(), status: job.status, percentage: job.percentage }
    }
}

/// Who waits or has waited for whom.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphEdge {
    /// The job that is or was waited for.
    pub prerequisite: JobId,
    /// The job that waits or has waited.
    pub dependent: JobId,
}

/// What a job waits for and what waits for it, directly or through others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DependencyGraph {
    /// The jobs, in id order.
    pub nodes: Vec<GraphNode>,
    /// Who waits for whom, in order; both are among the nodes.
    pub edges: Vec<GraphEdge>,
    /// Whether there are more jobs than were asked for, or more edges than can be shown: the nearest are.
    pub is_truncated: bool,
}

/// Walks from `root`, level by level in both directions, to at most `nodes_max` jobs. Each level is a read of its own, so a
/// job that changes meanwhile may be seen before or after.
pub(crate) async fn around(store: &dyn JobStore, root: &Job, nodes_max: usize) -> Result<DependencyGraph> {
    let id = root.key.job.clone();
    let mut walk = Walk {
        store,
        partition: &root.key.partition,
        nodes_max: nodes_max.max(1),
        nodes: BTreeMap::from([(id.clone(), Some(GraphJob::from(root)))]),
        edges: BTreeSet::new(),
        is_truncated: false,
    };
    let prerequisites: Vec<JobId> = root.prerequisites_unmet_first().cloned().collect();
    let (mut above, mut below) = (walk.enter_above(&id, &prerequisites), vec![id]);
    let (mut seen_above, mut seen_below) =
        (BTreeSet::from_iter(above.clone()), BTreeSet::from_iter(below.clone()));
    while !(above.is_empty() && below.is_empty()) {
        // The first level above came with the job itself, so that the ones below are next.
        below = walk.level_below(&below).await?;
        below.retain(|job| seen_below.insert(job.clone()));
        above = walk.level_above(&above).await?;
        above.retain(|job| seen_above.insert(job.clone()));
    }
    walk.read_the_rest().await?;
    Ok(walk.finish())
}

struct Walk<'a> {
    store: &'a dyn JobStore,
    partition: &'a PartitionId,
    nodes_max: usize,
    nodes: BTreeMap<JobId, Option<GraphJob>>,
    edges: BTreeSet<GraphEdge>,
    is_truncated: bool,
}

impl Walk<'_> {
    /// Whether there is room for the job, or it is there already.
    fn admit(&mut self, job: &JobId) -> bool {
        if self.nodes.contains_key(job) {
            return true;
        }
        if self.nodes.len() == self.nodes_max {
            self.is_truncated = true;
            return false;
        }
        self.nodes.insert(job.clone(), None);
        true
    }

    fn link(&mut self, prerequisite: &JobId, dependent: &JobId) {
        let edge = GraphEdge { prerequisite: prerequisite.clone(), dependent: dependent.clone() };
        if self.edges.len() < EDGES_PER_NODE_MAX.saturating_mul(self.nodes_max) {
            self.edges.insert(edge);
        } else if !self.edges.contains(&edge) {
            self.is_truncated = true;
        }
    }

    fn enter_above(&mut self, dependent: &JobId, prerequisites: &[JobId]) -> Vec<JobId> {
        let mut entered = Vec::new();
        for prerequisite in prerequisites {
            if self.admit(prerequisite) {
                self.link(prerequisite, dependent);
                entered.push(prerequisite.clone());
            }
        }
        entered
    }

    async fn read(&mut self, jobs: &[JobId]) -> Result<Vec<(JobId, Vec<JobId>)>> {
        let mut prerequisites = Vec::new();
        for part in jobs.chunks(READ_AT_ONCE) {
            let keys: Vec<JobKey> =
                part.iter().map(|job| JobKey::new(self.partition.clone(), job.clone())).collect();
            for job in self.store.get(&keys).await?.into_iter().flatten() {
                let id = job.key.job.clone();
                self.nodes.insert(id.clone(), Some(GraphJob::from(&job)));
                prerequisites.push((id, job.prerequisites_unmet_first().cloned().collect()));
            }
        }
        Ok(prerequisites)
    }

    async fn level_above(&mut self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        let mut next = Vec::new();
        for (job, prerequisites) in self.read(jobs).await? {
            next.extend(self.enter_above(&job, &prerequisites));
        }
        Ok(next)
    }

    async fn level_below(&mut self, jobs: &[JobId]) -> Result<Vec<JobId>> {
        // One more than there can be room for tells that there are more.
        let limit = u32::try_from(self.nodes_max).unwrap_or(u32::MAX).saturating_add(1);
        let mut next = Vec::new();
        for part in jobs.chunks(READ_AT_ONCE) {
            let levels = self.store.dependents(self.partition, part, limit).await?;
            for (job, dependents) in part.iter().zip(levels) {
                for dependent in dependents {
                    if self.admit(&dependent) {
                        self.link(job, &dependent);
                        next.push(dependent);
                    }
                }
            }
        }
        Ok(next)
    }

    async fn read_the_rest(&mut self) -> Result<()> {
        let unread: Vec<JobId> =
            self.nodes.iter().filter(|(_, known)| known.is_none()).map(|(job, _)| job.clone()).collect();
        self.read(&unread).await.map(drop)
    }

    fn finish(self) -> DependencyGraph {
        DependencyGraph {
            nodes: self.nodes.into_iter().map(|(job, known)| GraphNode { job, known }).collect(),
            edges: self.edges.into_iter().collect(),
            is_truncated: self.is_truncated,
        }
    }
}
