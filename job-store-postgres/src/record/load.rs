//! Bringing the touched part of each job's progress into memory.

use std::collections::{BTreeSet, HashMap};

use job_core::progress::Footprint;
use job_core::{JobKey, TaskId, TaskPath};
use sqlx::PgConnection;

use super::Record;
use crate::job_rows::JobRow;
use crate::progress_rows::{self, Broken, Key, LoadedTree};
use crate::step::Trouble;

/// A locked job in memory.
pub(crate) struct LoadedJob {
    pub(crate) row: JobRow,
    pub(crate) progress: LoadedTree,
    /// Its stored progress makes no sense.
    pub(crate) broken: Option<Broken>,
}

/// A job with progress rows of its own, and what the batch needs of them.
struct Larger<'a> {
    row: &'a JobRow,
    footprint: Footprint,
    tasks: Vec<&'a TaskId>,
}

type Trees = HashMap<i64, LoadedTree>;

pub(super) async fn load(
    connection: &mut PgConnection,
    record: &Record<'_>,
    rows: HashMap<JobKey, JobRow>,
) -> Result<HashMap<JobKey, LoadedJob>, Trouble> {
    let mut trees: Trees = HashMap::with_capacity(rows.len());
    let mut broken: HashMap<i64, Broken> = HashMap::new();
    let mut larger: Vec<Larger<'_>> = Vec::new();
    for (key, places) in &record.groups {
        let Some(row) = rows.get(*key).filter(|row| row.state.status.accepts_reports()) else { continue };
        match LoadedTree::of_job(row) {
            Ok(tree) => drop(trees.insert(row.job_no, tree)),
            Err(error) => drop(broken.insert(row.job_no, error)),
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
    if !larger.is_empty() {
        load_rows(connection, &larger, &mut trees, &mut broken).await?;
    }
    Ok(rows
        .into_iter()
        .map(|(key, row)| {
            let progress = trees.remove(&row.job_no).unwrap_or_default();
            let broken = broken.remove(&row.job_no);
            (key, LoadedJob { row, progress, broken })
        })
        .collect())
}

async fn load_rows(
    connection: &mut PgConnection,
    larger: &[Larger<'_>],
    trees: &mut Trees,
    broken: &mut HashMap<i64, Broken>,
) -> Result<(), Trouble> {
    let above: Vec<(&JobRow, BTreeSet<Key>)> =
        larger.iter().map(|job| (job.row, progress_rows::needed_above(&job.footprint))).collect();
    progress_rows::load(connection, &above, trees).await?;
    put(larger, trees, broken, |job, tree| {
        tree.put_records(&job.footprint.parents)?;
        tree.put_chunks()
    });
    let at: Vec<(&JobRow, BTreeSet<Key>)> = larger
        .iter()
        .filter_map(|job| {
            Some((job.row, progress_rows::needed_at(&job.footprint, trees.get(&job.row.job_no)?)))
        })
        .collect();
    progress_rows::load(connection, &at, trees).await?;
    put(larger, trees, broken, |job, tree| tree.put_records(&job.footprint.tasks));
    let behind: Vec<(&JobRow, BTreeSet<(TaskPath, u32)>)> = larger
        .iter()
        .filter_map(|job| {
            let tree = &trees.get(&job.row.job_no)?.tree;
            Some((job.row, tree.recounts_needed(job.tasks.iter().copied())))
        })
        .collect();
    broken.extend(progress_rows::load_behind(connection, &behind, trees).await?);
    Ok(())
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
