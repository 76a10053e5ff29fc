//! Prerequisites: which are unmet, what closes a cycle, and when a job becomes due.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{IdError, JobId};
use crate::job::Prerequisite;
use crate::lifecycle::JobStatus;

/// How many jobs a search for cycles visits before it gives up and refuses.
pub const CYCLE_SEARCH_MAX: usize = 10_000;

impl Prerequisite {
    /// Reads the contract's form `jobId[,option...]`. The only option is `pc`; others are ignored, as the contract
    /// says. A blank text names nobody.
    ///
    /// # Errors
    /// The [`IdError`] of the job id.
    pub fn parse(text: &str) -> Result<Option<Self>, IdError> {
        if text.trim().is_empty() {
            return Ok(None);
        }
        let mut parts = text.split(',');
        let job = JobId::new(parts.next().unwrap_or_default())?;
        Ok(Some(Self { job, pre_created: parts.any(|option| option == "pc") }))
    }
}

/// Drops repeated prerequisites; "pre-created" wins. The first mention decides the order.
#[must_use]
pub fn without_repeats(prerequisites: Vec<Prerequisite>) -> Vec<Prerequisite> {
    let mut positions: HashMap<JobId, usize> = HashMap::new();
    let mut kept: Vec<Prerequisite> = Vec::with_capacity(prerequisites.len());
    for prerequisite in prerequisites {
        match positions.get(&prerequisite.job) {
            Some(at) => kept[*at].pre_created |= prerequisite.pre_created,
            None => {
                positions.insert(prerequisite.job.clone(), kept.len());
                kept.push(prerequisite);
            }
        }
    }
    kept
}

/// What one prerequisite means for a job that is being created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nothing to wait for.
    Met,
    /// To be waited for.
    Unmet,
    /// The job cannot be created.
    Failed,
}

/// REST contract §5.2; a cancelled prerequisite is waited for, because a job of its id may come again.
#[must_use]
pub const fn standing(pre_created: bool, status: Option<JobStatus>) -> Standing {
    match status {
        None if pre_created => Standing::Met,
        Some(JobStatus::Completed) => Standing::Met,
        Some(JobStatus::Failed) => Standing::Failed,
        None | Some(JobStatus::Waiting | JobStatus::Active | JobStatus::Paused | JobStatus::Cancelled) => {
            Standing::Unmet
        }
    }
}

/// When the first task of a job may be published: `delay` after its last prerequisite was met at `now`, or not yet.
#[must_use]
pub fn due(unmet: usize, delay: Duration, now: Timestamp) -> Option<Timestamp> {
    (unmet == 0).then(|| now.saturating_add(delay))
}

/// Why a job's prerequisites are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CycleError {
    /// The jobs wait for each other, in this order, the first one last again.
    #[error("The prerequisites form a cycle: {}", names(.0))]
    Cycle(Vec<JobId>),
    /// The search was given up.
    #[error(
        "The prerequisites lead through more than {CYCLE_SEARCH_MAX} waiting jobs, too many to rule out a cycle"
    )]
    TooLarge,
}

fn names(jobs: &[JobId]) -> String {
    jobs.iter().map(JobId::as_str).collect::<Vec<_>>().join(" -> ")
}

/// Looks for a way from `job` over its prerequisites back to itself. `unmet_of` returns the unmet prerequisites of a
/// job that is already stored.
///
/// # Errors
/// [`CycleError::Cycle`] with the shortest such way.
pub fn check_cycle(
    job: &JobId,
    unmet: &[JobId],
    mut unmet_of: impl FnMut(&JobId) -> Vec<JobId>,
) -> Result<(), CycleError> {
    let mut came_from: HashMap<JobId, JobId> = HashMap::new();
    let mut frontier: Vec<JobId> = Vec::new();
    let mut next: Vec<(JobId, Vec<JobId>)> = vec![(job.clone(), unmet.to_vec())];
    loop {
        for (from, prerequisites) in next.drain(..) {
            for prerequisite in prerequisites {
                if prerequisite == *job {
                    return Err(CycleError::Cycle(way_back(job, from, &came_from)));
                }
                if !came_from.contains_key(&prerequisite) {
                    came_from.insert(prerequisite.clone(), from.clone());
                    frontier.push(prerequisite);
                }
            }
        }
        if frontier.is_empty() {
            return Ok(());
        }
        if came_from.len() > CYCLE_SEARCH_MAX {
            return Err(CycleError::TooLarge);
        }
        next = frontier
            .drain(..)
            .map(|job| {
                let unmet = unmet_of(&job);
                (job, unmet)
            })
            .collect();
    }
}

fn way_back(job: &JobId, last: JobId, came_from: &HashMap<JobId, JobId>) -> Vec<JobId> {
    let mut way = vec![job.clone()];
    let mut at = last;
    while at != *job {
        way.push(at.clone());
        at = came_from[&at].clone();
    }
    way.push(job.clone());
    way.reverse();
    way
}

/// Every job that waits for `root`, directly or through others, nearest first; cycles end the walk.
#[must_use]
pub fn transitive_dependents(
    root: &JobId,
    mut dependents_of: impl FnMut(&JobId) -> Vec<JobId>,
) -> Vec<JobId> {
    let mut seen = HashSet::from([root.clone()]);
    let mut order = Vec::new();
    let mut next = dependents_of(root);
    while !next.is_empty() {
        let fresh: Vec<JobId> = next.drain(..).filter(|job| seen.insert(job.clone())).collect();
        next = fresh.iter().flat_map(&mut dependents_of).collect();
        order.extend(fresh);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> JobId {
        JobId::new(text).unwrap()
    }

    fn ids(texts: &[&str]) -> Vec<JobId> {
        texts.iter().map(|text| id(text)).collect()
    }

    #[test]
    fn the_written_form_is_read_as_the_contract_says() {
        let parse = |text| Prerequisite::parse(text).unwrap();
        assert_eq!(parse(" "), None);
        assert_eq!(parse("j1"), Some(Prerequisite { job: id("j1"), pre_created: false }));
        assert_eq!(parse("j1,,x,pc"), Some(Prerequisite { job: id("j1"), pre_created: true }));
        assert_eq!(parse("j1, pc"), Some(Prerequisite { job: id("j1"), pre_created: false }));
        assert_eq!(Prerequisite::parse("a.b"), Err(IdError::JobCharacters));
        assert_eq!(Prerequisite::parse(",pc"), Err(IdError::JobMissing));
    }

    #[test]
    fn repeats_are_merged_and_pre_created_wins() {
        let parse = |text| Prerequisite::parse(text).unwrap().unwrap();
        let merged = without_repeats(vec![parse("a"), parse("b"), parse("a,pc")]);
        assert_eq!(merged, [parse("a,pc"), parse("b")]);
    }

    #[test]
    fn standing_follows_the_table() {
        use JobStatus as S;
        for (status, plain, pre_created) in [
            (None, Standing::Unmet, Standing::Met),
            (Some(S::Waiting), Standing::Unmet, Standing::Unmet),
            (Some(S::Active), Standing::Unmet, Standing::Unmet),
            (Some(S::Paused), Standing::Unmet, Standing::Unmet),
            (Some(S::Cancelled), Standing::Unmet, Standing::Unmet),
            (Some(S::Failed), Standing::Failed, Standing::Failed),
            (Some(S::Completed), Standing::Met, Standing::Met),
        ] {
            assert_eq!((standing(false, status), standing(true, status)), (plain, pre_created), "{status:?}");
        }
    }

    #[test]
    fn cycles_are_named() {
        assert_eq!(check_cycle(&id("a"), &ids(&["a"]), |_| vec![]), Err(CycleError::Cycle(ids(&["a", "a"]))));
        let graph = |job: &JobId| match job.as_str() {
            "b" => ids(&["x", "c"]),
            "c" => ids(&["a"]),
            _ => vec![],
        };
        let error = check_cycle(&id("a"), &ids(&["b"]), graph).unwrap_err();
        assert_eq!(error.to_string(), "The prerequisites form a cycle: a -> b -> c -> a");
        assert_eq!(check_cycle(&id("n"), &ids(&["b"]), graph), Ok(()));
        let endless = |job: &JobId| vec![id(&format!("{}", job.as_str().parse::<u32>().unwrap() + 1))];
        assert_eq!(check_cycle(&id("n"), &ids(&["1"]), endless), Err(CycleError::TooLarge));
    }

    #[test]
    fn dependents_are_found_once_each() {
        let graph = |job: &JobId| match job.as_str() {
            "a" => ids(&["b", "c"]),
            "b" | "c" => ids(&["d"]),
            "d" => ids(&["a"]),
            _ => vec![],
        };
        assert_eq!(transitive_dependents(&id("a"), graph), ids(&["b", "c", "d"]));
    }
}
