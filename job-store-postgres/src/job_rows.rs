//! The rows of the table `job`: locked in one order, changed in memory, written back in one statement.

use std::collections::{BTreeMap, BTreeSet};

use job_core::progress::Percentage;
use job_core::recording::JobState;
use job_core::{Error, JobKey, SubtaskCounts, Timestamp};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};

use crate::row_writer::RowWriter;
use crate::status_code;
use crate::step::Trouble;

/// A job whose row is locked, or one version of it.
#[derive(Debug)]
pub(crate) struct JobRow {
    pub(crate) key: JobKey,
    pub(crate) job_no: i64,
    /// Of the version that was read or written.
    writer: RowWriter,
    pub(crate) create_time: Timestamp,
    /// As it is stored.
    pub(crate) before: JobState,
    pub(crate) state: JobState,
    pub(crate) failure_count: i64,
    /// Whether more has changed than how far the job is, beyond what `state` shows.
    pub(crate) needs_whole_write: bool,
    /// The place of the last failure ever kept.
    pub(crate) last_failure: i64,
    pub(crate) has_progress_rows: bool,
    had_progress_rows: bool,
    /// Whether the job was created with prerequisites that were not met.
    pub(crate) has_prerequisites: bool,
    /// The job's own progress record.
    pub(crate) progress: Option<Vec<u8>>,
}

impl JobRow {
    /// Whether nothing has changed but how far the job is: what nearly all reports do.
    pub(crate) fn has_only_progressed(&self) -> bool {
        let (before, now) = (&self.before, &self.state);
        (before.status, before.start_time, before.finish_time)
            == (now.status, now.start_time, now.finish_time)
            && self.has_progress_rows == self.had_progress_rows
            && !self.needs_whole_write
    }

    /// The row as it is now that it has been written.
    pub(crate) fn was_written(&mut self, writer: RowWriter) {
        self.writer = writer;
        self.before = self.state.clone();
        self.had_progress_rows = self.has_progress_rows;
    }

    /// How much memory it takes, nearly.
    pub(crate) fn bytes(&self) -> usize {
        let key = self.key.partition.as_str().len() + self.key.job.as_str().len();
        size_of::<Self>() + key + self.progress.as_ref().map_or(0, Vec::capacity)
    }
}

/// A job whose row cannot be read.
#[derive(Debug)]
pub(crate) struct DamagedRow {
    pub(crate) key: JobKey,
    pub(crate) job_no: i64,
    /// As it is stored, whether it makes sense or not.
    pub(crate) status: i16,
    pub(crate) error: Error,
}

/// Whether rows are locked, and what to do about one that somebody else has locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lock {
    /// They are only read; whoever writes them later has to see that they are still the same.
    None,
    /// Wait for it; the keys come after every key that is locked already.
    InOrder,
    /// Fail at once, since waiting might be for somebody who waits for us.
    OutOfOrder,
}

// A lateral subquery that locks is never merged into its surroundings: the rows are looked up one by one by primary
// key, and locked in the order of the keys.
macro_rules! read_jobs {
    ($lock:literal) => {
        concat!(
            "SELECT k.place, j.* FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(partition_id, job_id, place)
             CROSS JOIN LATERAL (
                 SELECT job_no, create_time, last_update_time, start_time, finish_time, percentage,
                        failure_count, last_failure, status, has_progress_rows, has_prerequisites, subtasks_total,
                        subtasks_completed, subtasks_failed, progress, xmin
                 FROM job WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id OFFSET 0 ",
            $lock,
            ") j"
        )
    };
}

/// Writers on different connections use different shards.
macro_rules! count_jobs {
    ($partitions:literal, $statuses:literal, $jobs:literal) => {
        concat!(
            "INSERT INTO job_count AS c (partition_id, status, shard, jobs)
             SELECT k.partition_id, k.status, pg_backend_pid() & 63, k.jobs
             FROM unnest(",
            $partitions,
            "::text[], ",
            $statuses,
            "::smallint[], ",
            $jobs,
            "::bigint[]) AS k(partition_id, status, jobs)
             ON CONFLICT (partition_id, status, shard) DO UPDATE SET jobs = c.jobs + excluded.jobs"
        )
    };
}
pub(crate) use count_jobs;

impl DamagedRow {
    pub(crate) fn passed_over(&self) {
        let Self { key, error, .. } = self;
        tracing::error!(job.partition = %key.partition, job.id = %key.job, %error, "a damaged job is passed over");
    }
}

/// Jobs as they are stored.
#[derive(Debug, Default)]
pub(crate) struct JobRows {
    pub(crate) rows: Vec<JobRow>,
    pub(crate) damaged: Vec<DamagedRow>,
}

impl JobRows {
    /// The rows that can be read: one that cannot keeps none of them from going on.
    pub(crate) fn readable(self) -> Vec<JobRow> {
        self.damaged.iter().for_each(DamagedRow::passed_over);
        self.rows
    }
}

/// Reads the jobs that exist among `keys`, locked unless `lock` says otherwise.
pub(crate) async fn read(
    connection: &mut PgConnection,
    keys: &BTreeSet<JobKey>,
    lock: Lock,
) -> Result<JobRows, Trouble> {
    if keys.is_empty() {
        return Ok(JobRows::default());
    }
    let ordered: Vec<&JobKey> = keys.iter().collect();
    let partitions: Vec<&str> = ordered.iter().map(|key| key.partition.as_str()).collect();
    let ids: Vec<&str> = ordered.iter().map(|key| key.job.as_str()).collect();
    let sql = match lock {
        Lock::None => read_jobs!(""),
        Lock::InOrder => read_jobs!("FOR UPDATE"),
        Lock::OutOfOrder => read_jobs!("FOR UPDATE NOWAIT"),
    };
    let rows = sqlx::query(sql).bind(partitions).bind(ids).fetch_all(connection).await?;
    let mut found = JobRows { rows: Vec::with_capacity(rows.len()), damaged: Vec::new() };
    for row in &rows {
        let place: i64 = row.try_get(0)?;
        let key = ordered[place as usize - 1];
        match decode(key.clone(), row) {
            Ok(row) => found.rows.push(row),
            Err(Trouble::Job(error)) => found.damaged.push(DamagedRow {
                key: key.clone(),
                job_no: row.try_get(1)?,
                status: row.try_get(9)?,
                error,
            }),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(found)
}

/// Columns by their place in [`read_jobs`]: a batch may lock a thousand rows, and looking for names takes time.
fn decode(key: JobKey, row: &PgRow) -> Result<JobRow, Trouble> {
    let time_or_none =
        |column: usize| row.try_get::<Option<i64>, _>(column).map(|time| time.map(Timestamp::from_millis));
    let count = |column: usize| row.try_get::<i32, _>(column).map(i32::unsigned_abs);
    let state = JobState {
        status: status_code::status(row.try_get(9)?)?,
        percentage: Percentage::from_steps(row.try_get::<i64, _>(6)?.unsigned_abs()),
        subtasks: SubtaskCounts {
            total: row.try_get::<Option<i32>, _>(12)?.map(i32::unsigned_abs),
            completed: count(13)?,
            failed: count(14)?,
        },
        last_update_time: Timestamp::from_millis(row.try_get(3)?),
        start_time: time_or_none(4)?,
        finish_time: time_or_none(5)?,
    };
    Ok(JobRow {
        key,
        job_no: row.try_get(1)?,
        create_time: Timestamp::from_millis(row.try_get(2)?),
        before: state.clone(),
        state,
        failure_count: row.try_get(7)?,
        needs_whole_write: false,
        last_failure: row.try_get(8)?,
        has_progress_rows: row.try_get(10)?,
        had_progress_rows: row.try_get(10)?,
        has_prerequisites: row.try_get(11)?,
        progress: row.try_get(15)?,
        writer: row.try_get(16)?,
    })
}

pub(crate) fn subtasks(row: &PgRow) -> Result<SubtaskCounts, sqlx::Error> {
    let count = |name: &str| row.try_get::<i32, _>(name).map(i32::unsigned_abs);
    Ok(SubtaskCounts {
        total: row.try_get::<Option<i32>, _>("subtasks_total")?.map(i32::unsigned_abs),
        completed: count("subtasks_completed")?,
        failed: count("subtasks_failed")?,
    })
}

/// Seconds, nearly: fine enough that few jobs share one, coarse enough that a busy job rarely leaves one.
pub(crate) fn update_group(time: Timestamp) -> i64 {
    time.as_millis() >> 10
}

/// 0 and 100 percent, which most jobs have, are groups of their own; between them each percent is one.
pub(crate) fn percentage_group(hundredths: u16) -> i16 {
    match hundredths {
        0 => 0,
        10_000.. => 101,
        between => 1 + ((between - 1) / 100) as i16,
    }
}

/// Subtask numbers end at 2^31-1.
pub(crate) fn count(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Writes the changeable part of locked jobs, and how their statuses change the counts. It comes last in a transaction:
/// a shard of the counts is locked for as short as possible, and always in the same order.
pub(crate) async fn write(connection: &mut PgConnection, rows: &[&JobRow]) -> Result<(), sqlx::Error> {
    let Some(first) = rows.first() else { return Ok(()) };
    let now = first.state.last_update_time;
    let (progressed, changed): (Vec<&JobRow>, Vec<&JobRow>) =
        rows.iter().partition(|row| row.has_only_progressed() && row.state.last_update_time == now);
    if !progressed.is_empty() {
        let query = bind_progressed(sqlx::query(progressed!()), &progressed, now);
        query.execute(&mut *connection).await?;
    }
    if changed.is_empty() {
        return Ok(());
    }
    let mut counts = CountChanges::default();
    changed.iter().for_each(|row| counts.moved(row));
    write_whole(connection, &changed, &counts).await
}

// Numbers are picked from their arrays by place, which costs less than making a table of them.
macro_rules! progressed {
    () => {
        "UPDATE job j SET last_update_time = $1, update_group = $2, percentage = ($6::bigint[])[k.place],
             hundredths = ($7::smallint[])[k.place], percentage_group = ($8::smallint[])[k.place],
             subtasks_total = nullif(($9::integer[])[k.place], -1),
             subtasks_completed = ($10::integer[])[k.place], subtasks_failed = ($11::integer[])[k.place],
             progress = k.progress
         FROM unnest($3::text[], $4::text[], $5::bytea[])
             WITH ORDINALITY AS k(partition_id, job_id, progress, place)
         WHERE j.partition_id = k.partition_id AND j.job_id = k.job_id AND j.job_no = ($12::bigint[])[k.place]"
    };
}
pub(crate) use progressed;

/// Binds the twelve parameters of [`progressed!`].
pub(crate) fn bind_progressed<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &[&'q JobRow],
    now: Timestamp,
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(now.as_millis())
        .bind(update_group(now))
        .bind(rows.iter().map(|row| row.key.partition.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.job.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.progress.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.state.percentage.steps() as i64).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.state.percentage.hundredths() as i16).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| percentage_group(row.state.percentage.hundredths())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.state.subtasks.total.map_or(-1, count)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| count(row.state.subtasks.completed)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| count(row.state.subtasks.failed)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.job_no).collect::<Vec<_>>())
}

// Which of some jobs, by their places in the list, are still the versions that were read. Who wrote a row names one version
// of it, but a standby that has taken over hands out once more the numbers of transactions that it never heard of: hence
// the time. The number tells a job from one that has its id after it.
macro_rules! same_jobs {
    ($partitions:literal, $ids:literal, $numbers:literal, $writers:literal, $times:literal, $lock:literal) => {
        concat!(
            "SELECT k.place FROM unnest(",
            $partitions,
            "::text[], ",
            $ids,
            "::text[]) WITH ORDINALITY AS k(partition_id, job_id, place)
             CROSS JOIN LATERAL (
                 SELECT FROM job
                 WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id AND job.job_no = (",
            $numbers,
            "::bigint[])[k.place] AND job.xmin = (",
            $writers,
            "::xid[])[k.place] AND job.last_update_time = (",
            $times,
            "::bigint[])[k.place] ",
            $lock,
            ") j"
        )
    };
}
pub(crate) use same_jobs;

/// Binds the five parameters of [`same_jobs!`].
pub(crate) fn bind_versions<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &[&'q JobRow],
) -> Query<'q, Postgres, PgArguments> {
    let query = query
        .bind(rows.iter().map(|row| row.key.partition.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.key.job.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.job_no).collect::<Vec<_>>());
    bind_writers(query, rows)
}

/// Binds the last two, for a statement that has the others already.
pub(crate) fn bind_writers<'q>(
    query: Query<'q, Postgres, PgArguments>,
    rows: &[&JobRow],
) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(rows.iter().map(|row| row.writer).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.before.last_update_time.as_millis()).collect::<Vec<_>>())
}

/// Writes rows of which any column may have changed, found by primary key.
async fn write_whole(
    connection: &mut PgConnection,
    rows: &[&JobRow],
    counts: &CountChanges,
) -> Result<(), sqlx::Error> {
    macro_rules! column {
        ($row:ident => $value:expr) => {
            rows.iter().map(|$row| $value).collect::<Vec<_>>()
        };
    }
    let millis = |time: Option<Timestamp>| time.map(Timestamp::as_millis);
    let query = sqlx::query(concat!(
        "WITH counted AS (",
        count_jobs!("$21", "$22", "$23"),
        ") INSERT INTO job AS j (partition_id, job_id, job_no, create_time, last_update_time, update_group, start_time,
             finish_time, percentage, failure_count, last_failure, status, hundredths, percentage_group,
             has_progress_rows, has_prerequisites, subtasks_total, subtasks_completed, subtasks_failed, progress)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::smallint[],
             $13::smallint[], $14::smallint[], $15::boolean[], $16::boolean[], $17::integer[], $18::integer[],
             $19::integer[], $20::bytea[])
         ON CONFLICT (partition_id, job_id) DO UPDATE SET
             last_update_time = excluded.last_update_time, update_group = excluded.update_group,
             start_time = excluded.start_time, finish_time = excluded.finish_time,
             percentage = excluded.percentage, failure_count = excluded.failure_count,
             last_failure = excluded.last_failure, status = excluded.status, hundredths = excluded.hundredths,
             percentage_group = excluded.percentage_group, has_progress_rows = excluded.has_progress_rows, has_prerequisites = excluded.has_prerequisites,
             subtasks_total = excluded.subtasks_total, subtasks_completed = excluded.subtasks_completed,
             subtasks_failed = excluded.subtasks_failed, progress = excluded.progress"
    ))
    .bind(column!(row => row.key.partition.as_str()))
    .bind(column!(row => row.key.job.as_str()))
    .bind(column!(row => row.job_no))
    .bind(column!(row => row.create_time.as_millis()))
    .bind(column!(row => row.state.last_update_time.as_millis()))
    .bind(column!(row => update_group(row.state.last_update_time)))
    .bind(column!(row => millis(row.state.start_time)))
    .bind(column!(row => millis(row.state.finish_time)))
    .bind(column!(row => row.state.percentage.steps() as i64))
    .bind(column!(row => row.failure_count))
    .bind(column!(row => row.last_failure))
    .bind(column!(row => status_code::code(row.state.status)))
    .bind(column!(row => row.state.percentage.hundredths() as i16))
    .bind(column!(row => percentage_group(row.state.percentage.hundredths())))
    .bind(column!(row => row.has_progress_rows))
    .bind(column!(row => row.has_prerequisites))
    .bind(column!(row => row.state.subtasks.total.map(count)))
    .bind(column!(row => count(row.state.subtasks.completed)))
    .bind(column!(row => count(row.state.subtasks.failed)))
    .bind(column!(row => row.progress.as_deref()));
    counts.bind(query).execute(connection).await?;
    Ok(())
}

/// How the counts of jobs per partition and status change.
#[derive(Debug, Default)]
pub(crate) struct CountChanges(BTreeMap<(String, i16), i64>);

impl CountChanges {
    pub(crate) fn add(&mut self, key: &JobKey, status: i16, jobs: i64) {
        *self.0.entry((key.partition.as_str().to_owned(), status)).or_default() += jobs;
    }

    fn moved(&mut self, row: &JobRow) {
        if row.before.status != row.state.status {
            self.add(&row.key, status_code::code(row.before.status), -1);
            self.add(&row.key, status_code::code(row.state.status), 1);
        }
    }

    fn changes(&self) -> impl Iterator<Item = (&(String, i16), &i64)> {
        self.0.iter().filter(|(_, jobs)| **jobs != 0)
    }

    /// Binds the three parameters of [`count_jobs!`].
    pub(crate) fn bind<'q>(
        &self,
        query: Query<'q, Postgres, PgArguments>,
    ) -> Query<'q, Postgres, PgArguments> {
        query
            .bind(self.changes().map(|((partition, _), _)| partition.as_str()).collect::<Vec<_>>())
            .bind(self.changes().map(|((_, status), _)| *status).collect::<Vec<_>>())
            .bind(self.changes().map(|(_, jobs)| *jobs).collect::<Vec<_>>())
    }

    /// For changes that come without rows to write.
    pub(crate) async fn write(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if self.changes().next().is_none() {
            return Ok(());
        }
        self.bind(sqlx::query(count_jobs!("$1", "$2", "$3"))).execute(connection).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentage_groups_keep_the_order() {
        let groups: Vec<i16> = (0..=10_000).map(percentage_group).collect();
        assert!(groups.is_sorted());
        assert_eq!((groups[0], groups[1], groups[100], groups[101]), (0, 1, 1, 2));
        assert_eq!((groups[9_999], groups[10_000]), (100, 101));
    }

    #[test]
    fn update_groups_keep_the_order() {
        let group = |millis| update_group(Timestamp::from_millis(millis));
        assert!(group(-1) < group(0) && group(1023) == group(0) && group(1024) > group(0));
    }
}
