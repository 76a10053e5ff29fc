//! Recording without locking first, for what nearly every batch is: it moves jobs on, and nothing else.
//!
//! The jobs are read as they are, `job-core` decides, and what it said is written if every job is still the version that was
//! read. Of a few jobs, one statement sees to both, so that a batch is one round trip where the jobs are
//! [remembered](super::recent), and two or three otherwise, instead of five or six. Of many, the statement that writes them
//! locks them as well, so that no row is locked, and written to the log, twice. Whatever is more than that, and whatever
//! somebody else comes before, is left to [`Record`], which locks.
//!
//! A job's progress changes only together with the job's row, so that the version of the row vouches for all of it. What
//! says nothing new is answered from what was read: that is committed, wherever the reads fell between other steps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use job_core::progress::ReportEvent;
use job_core::store::{Recorded, TaskReport};
use job_core::{JobKey, Result, Timestamp};
use sqlx::{PgConnection, Row};

use super::decide::{self, Decided, DecidedJob};
use super::write::collect_progress;
use super::{LoadedJob, Outcome, Record, load};
use crate::dependents::Edges;
use crate::job_rows::{self, JobRow, JobRows, Lock, progressed, same_jobs};
use crate::progress_writes::{Writes, insert_progress, update_progress};
use crate::row_writer::RowWriter;
use crate::step::{Form, Step, Trouble};

/// Of more jobs than these, looking twice at each costs more than the round trips.
pub(super) const FEW: usize = 16;
/// After a batch that ended a job or a task, or that somebody else came before, so many others are not tried; twice as many
/// each time until one succeeds.
const REST_MIN: u32 = 8;
const REST_MAX: u32 = 1_024;

/// Whether it is worth trying: others may be at the same jobs all the time, or every batch may end something.
#[derive(Debug, Default)]
pub(crate) struct Hope {
    rest: AtomicU32,
    next: AtomicU32,
}

impl Hope {
    // Exact counts do not matter.
    pub(super) fn is_there(&self) -> bool {
        let rest = self.rest.load(Ordering::Relaxed);
        self.rest.store(rest.saturating_sub(1), Ordering::Relaxed);
        rest == 0
    }

    pub(super) fn was_wrong(&self) {
        let rest = self.next.load(Ordering::Relaxed).clamp(REST_MIN, REST_MAX);
        self.rest.store(rest, Ordering::Relaxed);
        self.next.store(rest * 2, Ordering::Relaxed);
    }

    pub(super) fn was_right(&self) {
        self.next.store(0, Ordering::Relaxed);
    }
}

/// Answers `None`, with nothing changed, when the batch has to be recorded with locks.
pub(crate) struct RecordOptimistically<'r, 'a> {
    record: &'r mut Record<'a>,
    hope: &'a Hope,
}

impl<'r, 'a> RecordOptimistically<'r, 'a> {
    /// `None` when the batch is about many jobs, plainly does more than move them on, or when there is no hope.
    pub(crate) fn new(record: &'r mut Record<'a>, hope: &'a Hope) -> Option<Self> {
        let is_for_this = record.groups.len() <= FEW && !does_more(record.reports);
        (is_for_this && hope.is_there()).then_some(Self { record, hope })
    }
}

#[async_trait]
impl Step for RecordOptimistically<'_, '_> {
    type Output = Option<Outcome>;
    const NAME: &'static str = "store::record";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Option<Outcome>, Trouble> {
        let Self { record, hope } = self;
        let recalled = std::mem::take(&mut record.recalled);
        if !recalled.is_empty()
            && let Some(mut moved) = Moved::read(connection, record, recalled).await?
            && let Some(writes) = moved.writes(record.now)?
        {
            if let Some(outcome) = moved.write(connection, writes, record.now).await? {
                hope.was_right();
                record.recent.were_right();
                return Ok(Some(outcome));
            }
            record.recent.were_wrong();
        }
        let Some(mut moved) = Moved::read(connection, record, HashMap::new()).await? else {
            hope.was_wrong();
            return Ok(None);
        };
        let Some(writes) = moved.writes(record.now)? else { return Ok(None) };
        let outcome = moved.write(connection, writes, record.now).await?;
        if outcome.is_some() {
            hope.was_right();
        } else {
            hope.was_wrong();
        }
        Ok(outcome)
    }
}

/// Whether it is plain to see that some of these reports do more than move a job on.
pub(super) fn does_more(reports: &[TaskReport]) -> bool {
    let mut reports = reports.iter();
    reports.any(|report| report.task.path().depth() == 0 || matches!(report.event, ReportEvent::Failed(_)))
}

/// Jobs that have moved on.
pub(super) struct Moved {
    recorded: Recorded,
    jobs: Vec<DecidedJob>,
}

impl Moved {
    /// What has become of the jobs of a batch, which are not locked; `None` when it is more than that, or when it is not
    /// known without a look at the jobs that are `recalled`.
    pub(super) async fn read(
        connection: &mut PgConnection,
        record: &Record<'_>,
        recalled: HashMap<JobKey, LoadedJob>,
    ) -> Result<Option<Self>, Trouble> {
        let keys = record.groups.iter().map(|(key, _)| *key).filter(|key| !recalled.contains_key(*key));
        let JobRows { rows, damaged } =
            job_rows::read(connection, &keys.cloned().collect(), Lock::None).await?;
        if !damaged.is_empty() {
            return Ok(None);
        }
        let is_recalling = !recalled.is_empty();
        let Some(jobs) = load::load(connection, record, rows, recalled).await? else {
            if is_recalling {
                record.recent.were_wrong();
            }
            return Ok(None);
        };
        if jobs.values().any(|job| job.broken.is_some()) {
            return Ok(None);
        }
        Ok(Self::of(decide::decide(record, jobs, &Edges::default())))
    }

    fn of(decided: Decided) -> Option<Self> {
        let Decided { recorded, jobs, failures } = decided;
        // Only writing a job says whether it still is what is remembered of it.
        if jobs.values().any(|job| job.job.is_recalled && !job.is_changed) {
            return None;
        }
        let mut jobs: Vec<DecidedJob> = jobs.into_values().filter(|job| job.is_changed).collect();
        jobs.sort_unstable_by(|a, b| a.job.row.key.cmp(&b.job.row.key));
        let finishes = !recorded.completed.is_empty() || !recorded.failed.is_empty();
        let drops = jobs.iter().any(|job| !job.dropped.is_empty());
        (!finishes && !drops && failures.is_empty()).then_some(Self { recorded, jobs })
    }

    /// What there is to write beside the jobs' rows; `None` when one of these has changed in more than how far its job is,
    /// which happens once or twice in the life of a job.
    pub(super) fn writes(&mut self, now: Timestamp) -> Result<Option<Writes>, Trouble> {
        let writes = collect_progress(&mut self.jobs)?;
        let moves_on = |row: &JobRow| row.has_only_progressed() && row.state.last_update_time == now;
        Ok((writes.only_add() && self.jobs.iter().all(|job| moves_on(&job.job.row))).then_some(writes))
    }

    fn rows(&self) -> Vec<&JobRow> {
        self.jobs.iter().map(|job| &*job.job.row).collect()
    }

    /// `None` when nothing was written.
    async fn write(
        self,
        connection: &mut PgConnection,
        writes: Writes,
        now: Timestamp,
    ) -> Result<Option<Outcome>, sqlx::Error> {
        if self.jobs.is_empty() {
            return Ok(Some(self.unwritten()));
        }
        let written = write_few(connection, &self.rows(), &writes, now).await?;
        Ok(written.map(|writer| self.written(writes, Some(writer))))
    }

    /// The same within a transaction. After `None` some may have been written.
    pub(super) async fn write_many(
        self,
        connection: &mut PgConnection,
        writes: Writes,
        now: Timestamp,
    ) -> Result<Option<Outcome>, sqlx::Error> {
        if self.jobs.is_empty() {
            return Ok(Some(self.unwritten()));
        }
        let (moved, writer) = write_many(connection, &self.rows(), now).await?;
        if moved < self.jobs.len() {
            return Ok(None);
        }
        writes.write(connection).await?;
        Ok(Some(self.written(writes, writer)))
    }

    fn unwritten(self) -> Outcome {
        Outcome { recorded: self.recorded, written: Vec::new() }
    }

    fn written(mut self, writes: Writes, writer: Option<RowWriter>) -> Outcome {
        let Some(writer) = writer else { return self.unwritten() };
        self.jobs.iter_mut().for_each(|job| job.job.row.was_written(writer));
        writes.was_written(self.jobs.iter_mut().map(|job| (job.job.row.job_no, &mut *job.job.progress)));
        Outcome { recorded: self.recorded, written: self.jobs.into_iter().map(|job| job.job).collect() }
    }
}

/// Returns who wrote the rows, unless nothing was written.
async fn write_few(
    connection: &mut PgConnection,
    rows: &[&JobRow],
    writes: &Writes,
    now: Timestamp,
) -> Result<Option<RowWriter>, sqlx::Error> {
    let query = sqlx::query(concat!(
        "WITH same AS MATERIALIZED (",
        same_jobs!("$3", "$4", "$12", "$13", "$14", "FOR UPDATE"),
        "), all_same AS MATERIALIZED (
             SELECT count(*) = cardinality($3::text[]) AS holds FROM same
         ), moved AS (",
        progressed!(),
        " AND (SELECT holds FROM all_same) RETURNING j.xmin AS writer), updated AS (",
        update_progress!("$15", "$16", "$17", "$18", "$19", "$20"),
        " AND (SELECT holds FROM all_same)), inserted AS (",
        insert_progress!("$21", "$22", "$23", "$24", "$25", "$26", "(SELECT holds FROM all_same)"),
        ") SELECT (array_agg(writer))[1] FROM moved"
    ));
    let query = job_rows::bind_writers(job_rows::bind_progressed(query, rows, now), rows);
    let query = writes.bind_inserted(writes.bind_updated(query));
    query.fetch_one(connection).await?.try_get(0)
}

/// Returns how many were the same, and who wrote them.
async fn write_many(
    connection: &mut PgConnection,
    rows: &[&JobRow],
    now: Timestamp,
) -> Result<(usize, Option<RowWriter>), sqlx::Error> {
    let query = sqlx::query(concat!(
        "WITH moved AS (",
        progressed!(),
        " AND j.xmin = ($13::xid[])[k.place] AND j.last_update_time = ($14::bigint[])[k.place]
             RETURNING j.xmin AS writer)
         SELECT count(*), (array_agg(writer))[1] FROM moved"
    ));
    let query = job_rows::bind_writers(job_rows::bind_progressed(query, rows, now), rows);
    let row = query.fetch_one(connection).await?;
    Ok((row.try_get::<i64, _>(0)? as usize, row.try_get(1)?))
}
