//! Writing what was decided: edges, outbox, progress and failures first, the jobs themselves, and the counts last.

use job_core::recording::JobState;
use job_core::store::Recorded;
use job_core::{Error, ErrorKind, JobKey, Timestamp};
use sqlx::PgConnection;

use super::decide::{Decided, DecidedJob};
use super::load::LoadedJob;
use crate::job_rows::{self, JobRow};
use crate::progress_rows::Broken;
use crate::progress_writes::{self, Writes};
use crate::step::Trouble;
use crate::{dependents, outbox_rows};

pub(crate) async fn write(
    connection: &mut PgConnection,
    decided: Decided,
    now: Timestamp,
) -> Result<Recorded, Trouble> {
    let Decided { mut recorded, jobs, failures } = decided;
    let mut changed: Vec<DecidedJob> = jobs.into_values().filter(|job| job.is_changed).collect();
    if changed.is_empty() {
        return Ok(recorded);
    }
    changed.sort_unstable_by(|a, b| a.job.row.key.cmp(&b.job.row.key));
    write_followers(connection, &changed).await?;
    let completed: Vec<&JobKey> = recorded.completed.iter().collect();
    recorded.released_due = dependents::release(connection, completed.into_iter(), now).await?;
    let removed = failures.remove_over(connection).await?;
    for job in &mut changed {
        job.job.row.failure_count -= removed.get(&job.job.row.job_no).copied().unwrap_or_default();
    }
    failures.insert_added(connection).await?;
    write_progress(connection, &mut changed).await?;
    let rows: Vec<&JobRow> = changed.iter().map(|job| &*job.job.row).collect();
    job_rows::write(connection, &rows).await?;
    Ok(recorded)
}

fn drops_all(job: &DecidedJob) -> bool {
    job.dropped.iter().any(|task| task.depth() == 0)
}

fn has_finished(row: &JobRow) -> bool {
    let JobState { status, .. } = row.state;
    status != row.before.status && status.is_finished()
}

/// Who has finished has nothing more to be published and waits for nobody.
async fn write_followers(connection: &mut PgConnection, changed: &[DecidedJob]) -> Result<(), Trouble> {
    let finished = || changed.iter().map(|job| &*job.job.row).filter(|row| has_finished(row));
    let mut partitions: Vec<&str> = finished().map(|row| row.key.partition.as_str()).collect();
    partitions.dedup();
    // Who has started waits for nobody.
    let waiting = finished().filter(|row| row.has_prerequisites && row.before.start_time.is_none());
    let waiting: Vec<i64> = waiting.map(|row| row.job_no).collect();
    dependents::forget_prerequisites(connection, &partitions, &waiting).await?;
    outbox_rows::finish(connection, &partitions, &finished().collect::<Vec<_>>()).await?;
    Ok(())
}

async fn write_progress(connection: &mut PgConnection, changed: &mut [DecidedJob]) -> Result<(), Trouble> {
    let emptied = || changed.iter().filter(|job| drops_all(job) && job.job.row.has_progress_rows);
    let mut partitions: Vec<&str> = emptied().map(|job| job.job.row.key.partition.as_str()).collect();
    partitions.dedup();
    let numbers: Vec<i64> = emptied().map(|job| job.job.row.job_no).collect();
    progress_writes::remove_all(connection, &partitions, &numbers).await?;
    collect_progress(changed)?.write(connection).await?;
    Ok(())
}

/// Takes what has become of the jobs' progress out of their trees: into their rows, and into what is to be written beside
/// these.
pub(super) fn collect_progress(changed: &mut [DecidedJob]) -> Result<Writes, Error> {
    let mut writes = Writes::default();
    for job in changed.iter_mut() {
        if drops_all(job) {
            job.job.row.has_progress_rows = false;
            job.dropped.clear();
        }
        let LoadedJob { row, progress, .. } = &mut job.job;
        if !row.state.status.keeps_progress() {
            row.progress = None;
            continue;
        }
        let mut changes = progress.tree.drain();
        let (own, below): (Vec<_>, Vec<_>) =
            std::mem::take(&mut changes.records).into_iter().partition(|(task, _)| task.depth() == 0);
        changes.records = below;
        if let Some((_, record)) = own.into_iter().next() {
            row.progress = Some(record);
        }
        row.has_progress_rows |= !changes.records.is_empty() || !changes.chunks.is_empty();
        let broken = |Broken(reason)| Error::new(ErrorKind::Corrupt, reason);
        writes.add(row, progress, &job.dropped, changes).map_err(broken)?;
    }
    Ok(writes)
}
