//! Bringing the touched part of each job's progress into memory.

use std::collections::{BTreeSet, HashMap};

use job_core::progress::Footprint;
use job_core::{JobKey, TaskId, TaskPath};
use sqlx::PgConnection;

use super::Record;
use crate::job_rows::JobRow;
use crate::progress_rows::{self, Broken, Key, LoadedTree, Trees};
use crate::step::Trouble;

/// A job in memory: locked, or one version of it.
#[derive(Debug)]
pub(crate) struct LoadedJob {
    pub(crate) row: Box<JobRow>,
    pub(crate) progress: Box<LoadedTree>,
    /// Its stored progress makes no sense.
    pub(crate) broken: Option<Broken>,
    /// It was not read by this call, and may have been changed long ago.
    pub(crate) is_recalled: bool,
}

impl LoadedJob {
    /// With its own progress record, if that is of any use.
    fn of(row: JobRow) -> Self {
        let tree = if row.state.status.accepts_reports() {
            LoadedTree::of_job(&row)
        } else {
            Ok(LoadedTree::default())
        };
        let (progress, broken) = match tree {
            Ok(tree) => (tree, None),
            Err(broken) => (LoadedTree::default(), Some(broken)),
        };
        Self { row: Box::new(row), progress: Box::new(progress), broken, is_recalled: false }
    }

    /// Whether there is progress beside its row that reports may touch.
    fn needs_rows(&self) -> bool {
        self.row.has_progress_rows && self.row.state.status.accepts_reports() && self.broken.is_none()
    }

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

/// Adds the jobs that were read to those that are `recalled`, and to all of them what the batch needs of their progress.
/// `None` when some job is no more the version that was read.
pub(super) async fn load(
    connection: &mut PgConnection,
    record: &Record<'_>,
    rows: Vec<JobRow>,
    recalled: HashMap<JobKey, LoadedJob>,
) -> Result<Option<HashMap<JobKey, LoadedJob>>, Trouble> {
    let mut jobs = recalled;
    jobs.reserve(rows.len());
    jobs.extend(rows.into_iter().map(|row| (row.key.clone(), LoadedJob::of(row))));
    let mut trees = Trees::new();
    for key in record.keys() {
        if let Some(job) = jobs.get_mut(key).filter(|job| job.needs_rows()) {
            trees.insert(job.row.job_no, std::mem::take(&mut job.progress));
        }
    }
    if trees.is_empty() {
        return Ok(Some(jobs));
    }
    let mut broken: HashMap<i64, Broken> = HashMap::new();
    let larger: Vec<Larger<'_>> = record
        .groups
        .iter()
        .filter_map(|(key, places)| {
            let row = &*jobs.get(*key).filter(|job| job.needs_rows())?.row;
            let tasks: Vec<&TaskId> = places.iter().map(|place| &record.reports[*place].task).collect();
            Some(Larger { row, footprint: Footprint::of(tasks.iter().map(|task| task.path())), tasks })
        })
        .collect();
    if !load_rows(connection, &larger, &mut trees, &mut broken).await? {
        return Ok(None);
    }
    for job in jobs.values_mut() {
        if let Some(tree) = trees.remove(&job.row.job_no) {
            job.progress = tree;
            job.broken = broken.remove(&job.row.job_no);
        }
    }
    Ok(Some(jobs))
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
