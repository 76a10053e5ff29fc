//! Recording without locks, for what nearly every batch is: it moves a few jobs on, and nothing else.
//!
//! The jobs are read as they are, `job-core` decides, and one statement writes what it said if every job is still the
//! version that was read: two or three round trips instead of five or six. Whatever is more than that, and whatever comes
//! in between, is left to [`Record`], which locks.
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
use crate::job_rows::{self, JobRow, Lock, Locked, progressed};
use crate::progress_rows::{Writes, insert_progress, update_progress};
use crate::step::{Form, Step, Trouble};

/// Of more jobs than these, looking twice at each costs more than the round trips.
const JOBS_MAX: usize = 16;
/// After a batch that could not be recorded in this way, so many others are not tried.
const REST: u32 = 15;

/// Whether it is worth trying: others may be at the same jobs all the time, or every batch may finish jobs.
#[derive(Debug, Default)]
pub(crate) struct Hope(AtomicU32);

impl Hope {
    pub(crate) fn is_there(&self) -> bool {
        // An exact count does not matter.
        let rest = self.0.load(Ordering::Relaxed);
        self.0.store(rest.saturating_sub(1), Ordering::Relaxed);
        rest == 0
    }

    pub(crate) fn was_wrong(&self) {
        self.0.store(REST, Ordering::Relaxed);
    }
}

/// Answers `None`, with nothing changed, when the batch has to be recorded with locks.
pub(crate) struct RecordOptimistically<'a>(Record<'a>);

impl<'a> RecordOptimistically<'a> {
    /// `None` when it is plain to see that these reports do more than move jobs on.
    pub(crate) fn new(reports: &'a [TaskReport], now: Timestamp) -> Option<Self> {
        let does_more = |report: &TaskReport| {
            report.task.path().depth() == 0 || matches!(report.event, ReportEvent::Failed(_))
        };
        if reports.iter().any(does_more) {
            return None;
        }
        let record = Record::new(reports, now);
        (record.groups.len() <= JOBS_MAX).then_some(Self(record))
    }
}

#[async_trait]
impl Step for RecordOptimistically<'_> {
    type Output = Option<Recorded>;
    const NAME: &'static str = "store::record";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Option<Recorded>, Trouble> {
        let record = &self.0;
        let keys = record.groups.iter().map(|(key, _)| (*key).clone()).collect();
        let Locked { rows, damaged } = job_rows::lock(connection, &keys, Lock::None).await?;
        if !damaged.is_empty() {
            return Ok(None);
        }
        let rows = rows.into_iter().map(|row| (row.key.clone(), row)).collect();
        let jobs = load::load(connection, record, rows).await?;
        // Either damaged, or read while somebody else wrote it.
        if jobs.values().any(|job| job.broken.is_some()) {
            return Ok(None);
        }
        let Some(mut moved) = Moved::of(decide::decide(record, jobs, &Edges::default())) else {
            return Ok(None);
        };
        let is_written = moved.write(connection, record.now).await?;
        Ok(is_written.then_some(moved.recorded))
    }
}

/// Jobs that have moved on.
struct Moved {
    recorded: Recorded,
    jobs: Vec<DecidedJob>,
}

impl Moved {
    /// `None` when more than that has become of them.
    fn of(decided: Decided) -> Option<Self> {
        let Decided { recorded, jobs, failures } = decided;
        let mut jobs: Vec<DecidedJob> = jobs.into_values().filter(|job| job.is_changed).collect();
        jobs.sort_unstable_by(|a, b| a.job.row.key.cmp(&b.job.row.key));
        let finishes = !recorded.completed.is_empty() || !recorded.failed.is_empty();
        let drops = jobs.iter().any(|job| !job.dropped.is_empty());
        (!finishes && !drops && failures.is_empty()).then_some(Self { recorded, jobs })
    }

    /// Returns whether everything was written; otherwise nothing was.
    async fn write(&mut self, connection: &mut PgConnection, now: Timestamp) -> Result<bool, Trouble> {
        if self.jobs.is_empty() {
            return Ok(true);
        }
        let writes = collect_progress(&mut self.jobs)?;
        let rows: Vec<&JobRow> = self.jobs.iter().map(|job| &job.job.row).collect();
        let moves_on = |row: &&JobRow| row.has_only_progressed() && row.state.last_update_time == now;
        if !writes.only_add() || !rows.iter().all(moves_on) {
            return Ok(false);
        }
        Ok(write_if_unchanged(connection, &rows, &writes, now).await?)
    }
}

async fn write_if_unchanged(
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
