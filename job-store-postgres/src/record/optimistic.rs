//! Recording without locking first, for what nearly every batch is: it moves jobs on, and nothing else.
//!
//! The jobs are read as they are, `job-core` decides, and what it said is written if every job is still the version that was
//! read. Of a few jobs, one statement sees to both, so that a batch is two or three round trips instead of five or six. Of
//! many, the statement that writes them locks them as well, so that no row is locked, and written to the log, twice.
//! Whatever is more than that, and whatever somebody else comes before, is left to [`Record`], which locks.
//!
//! A job's progress changes only together with the job's row, so that the version of the row vouches for all of it. What
//! says nothing new is answered from what was read: that is committed, wherever the reads fell between other steps.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use job_core::progress::ReportEvent;
use job_core::store::{Recorded, TaskReport};
use job_core::{Result, Timestamp};
use sqlx::{PgConnection, Row};

use super::decide::{self, Decided, DecidedJob};
use super::write::collect_progress;
use super::{Record, load};
use crate::dependents::Edges;
use crate::job_rows::{self, JobRow, JobRows, Lock, progressed};
use crate::progress_rows::{Writes, insert_progress, update_progress};
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
pub(crate) struct RecordOptimistically<'a> {
    record: &'a Record<'a>,
    hope: &'a Hope,
}

impl<'a> RecordOptimistically<'a> {
    /// `None` when the batch is about many jobs, plainly does more than move them on, or when there is no hope.
    pub(crate) fn new(record: &'a Record<'a>, hope: &'a Hope) -> Option<Self> {
        let is_for_this = record.groups.len() <= FEW && !does_more(record.reports);
        (is_for_this && hope.is_there()).then_some(Self { record, hope })
    }
}

#[async_trait]
impl Step for RecordOptimistically<'_> {
    type Output = Option<Recorded>;
    const NAME: &'static str = "store::record";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Option<Recorded>, Trouble> {
        let Self { record, hope } = self;
        let Some(mut moved) = Moved::read(connection, record).await? else {
            hope.was_wrong();
            return Ok(None);
        };
        let Some(writes) = moved.writes(record.now)? else { return Ok(None) };
        if !moved.write(connection, &writes, record.now).await? {
            hope.was_wrong();
            return Ok(None);
        }
        hope.was_right();
        Ok(Some(moved.recorded))
    }
}

/// Whether it is plain to see that some of these reports do more than move a job on.
pub(super) fn does_more(reports: &[TaskReport]) -> bool {
    let mut reports = reports.iter();
    reports.any(|report| report.task.path().depth() == 0 || matches!(report.event, ReportEvent::Failed(_)))
}

/// Jobs that have moved on.
pub(super) struct Moved {
    pub(super) recorded: Recorded,
    jobs: Vec<DecidedJob>,
}

impl Moved {
    /// What has become of the jobs of a batch, which are not locked; `None` when it is more than that.
    pub(super) async fn read(
        connection: &mut PgConnection,
        record: &Record<'_>,
    ) -> Result<Option<Self>, Trouble> {
        let keys = record.groups.iter().map(|(key, _)| (*key).clone()).collect();
        let JobRows { rows, damaged } = job_rows::read(connection, &keys, Lock::None).await?;
        if !damaged.is_empty() {
            return Ok(None);
        }
        let rows = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        let jobs = load::load(connection, record, rows).await?;
        // Either damaged, or read while somebody else wrote it.
        if jobs.values().any(|job| job.broken.is_some()) {
            return Ok(None);
        }
        Ok(Self::of(decide::decide(record, jobs, &Edges::default())))
    }

    fn of(decided: Decided) -> Option<Self> {
        let Decided { recorded, jobs, failures } = decided;
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

    /// Returns whether everything was written; otherwise nothing was.
    async fn write(
        &self,
        connection: &mut PgConnection,
        writes: &Writes,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let rows: Vec<&JobRow> = self.jobs.iter().map(|job| &job.job.row).collect();
        Ok(rows.is_empty() || write_few(connection, &rows, writes, now).await?)
    }

    /// The same within a transaction. Returns whether everything was written; otherwise some may have been.
    pub(super) async fn write_many(
        &self,
        connection: &mut PgConnection,
        writes: &Writes,
        now: Timestamp,
    ) -> Result<bool, sqlx::Error> {
        let rows: Vec<&JobRow> = self.jobs.iter().map(|job| &job.job.row).collect();
        if rows.is_empty() {
            return Ok(true);
        }
        let sql = concat!(progressed!(), " AND j.xmin = ($12::xid[])[k.place]");
        let query = job_rows::bind_progressed(sqlx::query(sql), &rows, now).bind(job_rows::writers(&rows));
        if query.execute(&mut *connection).await?.rows_affected() < rows.len() as u64 {
            return Ok(false);
        }
        writes.write(connection).await?;
        Ok(true)
    }
}

async fn write_few(
    connection: &mut PgConnection,
    rows: &[&JobRow],
    writes: &Writes,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    // The writer and not the place alone: a version that came to be while this waited for the lock is looked at without
    // asking for its place again.
    let query = sqlx::query(concat!(
        "WITH same AS MATERIALIZED (
             SELECT k.place FROM unnest($3::tid[]) WITH ORDINALITY AS k(at, place)
             CROSS JOIN LATERAL (
                 SELECT FROM job WHERE job.ctid = k.at AND job.xmin = ($12::xid[])[k.place] FOR UPDATE
             ) j
         ), all_same AS MATERIALIZED (
             SELECT count(*) = cardinality($3::tid[]) AS holds FROM same
         ), moved AS (",
        progressed!(),
        " AND (SELECT holds FROM all_same)), updated AS (",
        update_progress!("$13", "$14"),
        " AND (SELECT holds FROM all_same)), inserted AS (",
        insert_progress!("$15", "$16", "$17", "$18", "$19", "$20", "(SELECT holds FROM all_same)"),
        ") SELECT holds FROM all_same"
    ));
    let query = job_rows::bind_progressed(query, rows, now).bind(job_rows::writers(rows));
    let query = writes.bind_inserted(writes.bind_updated(query));
    query.fetch_one(connection).await?.try_get(0)
}
