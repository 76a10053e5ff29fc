//! Bringing the touched part of each job's progress into memory.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use job_core::progress::Footprint;
use job_core::{JobKey, TaskId, TaskPath};
use sqlx::PgConnection;

use super::Record;
use crate::job_rows::JobRow;
use crate::progress_rows::{self, Broken, Key, LoadedTree};
use crate::step::Trouble;

/// A job in memory: locked, or one version of it.
#[derive(Debug)]
pub(crate) struct LoadedJob {
    pub(crate) row: JobRow,
    pub(crate) progress: LoadedTree,
    /// Its stored progress makes no sense.
    pub(crate) broken: Option<Broken>,
    /// It was not read by this call, and may have been changed long ago.
    pub(crate) is_recalled: bool,
}

impl LoadedJob {
    /// How much memory it takes, nearly.
    pub(super) fn bytes(&self) -> usize {
        self.row.bytes() + self.progress.bytes()
    }
}

/// A job with progress rows of its own, and what the batch needs of them.
struct Larger<'a> {
    row: &'a JobRow,
    footprint: Footprint,
    tasks: Vec<&'a TaskId>,
}

type Trees = HashMap<i64, LoadedTree>;

/// Adds to the jobs that were read those that are `recalled`, and to all of them what the batch needs of their progress.
/// `None` when some job is no more the version that was read.
pub(super) async fn load(
    connection: &mut PgConnection,
    record: &Record<'_>,
    mut rows: HashMap<JobKey, JobRow>,
    recalled: HashMap<JobKey, LoadedJob>,
) -> Result<Option<HashMap<JobKey, LoadedJob>>, Trouble> {
    let mut trees: Trees = HashMap::with_capacity(rows.len() + recalled.len());
    let mut recalled_numbers = HashSet::with_capacity(recalled.len());
    for (key, job) in recalled {
        recalled_numbers.insert(job.row.job_no);
        trees.insert(job.row.job_no, job.progress);
        rows.insert(key, job.row);
    }
    let mut broken: HashMap<i64, Broken> = HashMap::new();
    let mut larger: Vec<Larger<'_>> = Vec::new();
    for (key, places) in &record.groups {
        let Some(row) = rows.get(*key).filter(|row| row.state.status.accepts_reports()) else { continue };
        if let Entry::Vacant(place) = trees.entry(row.job_no) {
            match LoadedTree::of_job(row) {
                Ok(tree) => drop(place.insert(tree)),
                Err(error) => drop(broken.insert(row.job_no, error)),
            }
        }
        if row.has_progress_rows && !broken.contains_key(&row.job_no) {
            let tasks: Vec<&TaskId> = places.iter().map(|place| &record.reports[*place].task).collect();
            larger.push(Larger {
                row,
                footprint: Footprint::of(tasks.iter().map(|task| task.path())),
                tasks,
            });
        }
    }
    if !larger.is_empty() && !load_rows(connection, &larger, &mut trees, &mut broken).await? {
        return Ok(None);
    }
    let loaded = rows.into_iter().map(|(key, row)| {
        let progress = trees.remove(&row.job_no).unwrap_or_default();
        let broken = broken.remove(&row.job_no);
        let is_recalled = recalled_numbers.contains(&row.job_no);
        (key, LoadedJob { row, progress, broken, is_recalled })
    });
    Ok(Some(loaded.collect()))
}

/// Returns whether all jobs are the versions that were read.
async fn load_rows(
    connection: &mut PgConnection,
    larger: &[Larger<'_>],
    trees: &mut Trees,
    broken: &mut HashMap<i64, Broken>,
) -> Result<bool, Trouble> {
    let needed = |trees: &Trees, of: fn(&Footprint, &LoadedTree) -> BTreeSet<Key>| {
        let needed =
            larger.iter().filter_map(|job| Some((job.row, of(&job.footprint, trees.get(&job.row.job_no)?))));
        needed.collect::<Vec<(&JobRow, BTreeSet<Key>)>>()
    };
    let above = needed(trees, progress_rows::needed_above);
    if !progress_rows::load(connection, above, trees).await? {
        return Ok(false);
    }
    put(larger, trees, broken, |job, tree| {
        tree.put_records(&job.footprint.parents)?;
        tree.put_chunks()
    });
    let at = needed(trees, progress_rows::needed_at);
    if !progress_rows::load(connection, at, trees).await? {
        return Ok(false);
    }
    put(larger, trees, broken, |job, tree| tree.put_records(&job.footprint.tasks));
    let behind: Vec<(&JobRow, BTreeSet<(TaskPath, u32)>)> = larger
        .iter()
        .filter_map(|job| {
            let tree = &trees.get(&job.row.job_no)?.tree;
            Some((job.row, tree.recounts_needed(job.tasks.iter().copied())))
        })
        .collect();
    let Some(broken_behind) = progress_rows::load_behind(connection, &behind, trees).await? else {
        return Ok(false);
    };
    broken.extend(broken_behind);
    Ok(true)
}

fn put(
    larger: &[Larger<'_>],
    trees: &mut Trees,
    broken: &mut HashMap<i64, Broken>,
    what: impl Fn(&Larger<'_>, &mut LoadedTree) -> Result<(), Broken>,
) {
    for job in larger {
        if let Some(Err(error)) = trees.get_mut(&job.row.job_no).map(|tree| what(job, tree)) {
            broken.insert(job.row.job_no, error);
        }
    }
}
