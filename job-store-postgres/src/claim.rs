//! Taking outbox entries on lease.
//!
//! A lease is a row for all entries that were taken together, so that a claim writes nothing where they are. It passes those
//! that are on lease: no more than dispatchers have in their hands, since they take the oldest first and settle soon.
//!
//! An entry that is to be tried again later is parked: it is not in the index of due entries, so that no claim pages past it,
//! however many there are. A claim that sees some whose time has come brings them back before it goes on.
//!
//! Partitions take turns. Their due entries are found by skipping from partition to partition along the index, to the first
//! entry of each. Each gives an equal share of what is asked for, and what some cannot give is asked of the others in another
//! round.
//!
//! A round is one statement and a transaction by itself: finding, putting on lease and looking ahead cost one round trip.
//! What was dispatched lately is dead in the index until it is vacuumed, and every look passes it: so there are as few
//! looks as there can be.
//!
//! Entries are not locked. Claims take turns by an advisory lock; one that has come too early takes nothing, and looks again when
//! the other is done. What it sees then may still be from before that: so each writes the version of the leases that it saw plus one,
//! and takes nothing if that is not the next. Whoever changes an entry meanwhile comes after the claim, as if it had come a
//! moment later.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use job_core::store::{ClaimRequest, Claimed, OutboxContent, OutboxEntry};
use job_core::{Error, ErrorKind, JobKey, PartitionId, Result, TaskSpec, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::step::{Form, Step, Trouble, unforced};

/// Whose turn was last, as far as this process knows: enough to be fair, and nobody has to store it.
#[derive(Debug, Default)]
pub(crate) struct Turn(Mutex<String>);

impl Turn {
    fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, partition: &PartitionId) {
        partition.as_str().clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

pub(crate) struct Claim<'a> {
    pub(crate) request: ClaimRequest,
    pub(crate) turn: &'a Turn,
    /// What earlier rounds took. It is on lease, whatever becomes of a later round.
    claimed: Claimed,
    /// The ids of that, and of what was taken and makes no sense. However short a lease is, no entry is taken twice.
    taken: Vec<i64>,
}

impl<'a> Claim<'a> {
    pub(crate) fn new(request: ClaimRequest, turn: &'a Turn) -> Self {
        Self { request, turn, claimed: Claimed::default(), taken: Vec::new() }
    }
}

#[async_trait]
impl Step for Claim<'_> {
    type Output = Claimed;
    const NAME: &'static str = "store::claim";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Claimed, Trouble> {
        let now = self.request.now;
        let limit = self.request.limit.max(1) as usize;
        let mut bytes = self.request.bytes_limit.max(1);
        loop {
            let wanted = limit - self.claimed.entries.len();
            let Taken { entries, brought_back, is_all, next_due } =
                self.take(connection, wanted, bytes).await?;
            bytes = bytes.saturating_sub(entries.iter().map(|entry| entry.content.size()).sum());
            if let Some(last) = entries.last() {
                self.turn.set(&last.job.partition);
            }
            self.claimed.next_due = next_due;
            self.claimed.entries.extend(entries);
            if self.claimed.entries.len() == limit || bytes == 0 {
                // Whatever else there is, it is looked at again at once.
                self.claimed.next_due = Some(now);
                return Ok(std::mem::take(&mut self.claimed));
            }
            if is_all && !brought_back {
                return Ok(std::mem::take(&mut self.claimed));
            }
        }
    }
}

/// What one round took.
struct Taken {
    entries: Vec<OutboxEntry>,
    /// Whether entries were parked whose time has come, which another round can take.
    brought_back: bool,
    /// Whether there is nothing left that another round could take otherwise.
    is_all: bool,
    next_due: Option<Timestamp>,
}

impl Claim<'_> {
    async fn take(
        &mut self,
        connection: &mut PgConnection,
        limit: usize,
        bytes: usize,
    ) -> Result<Taken, Trouble> {
        let ClaimRequest { owner, now, lease, .. } = self.request;
        let leased_until = now.saturating_add(lease).as_millis();
        let rows = sqlx::query(TAKE)
            .bind(now.as_millis())
            .bind(self.turn.last())
            .bind(i64::try_from(limit).unwrap_or(i64::MAX))
            .bind(owner)
            .bind(leased_until)
            .bind(&self.taken)
            .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
            .bind(CLAIMS)
            .fetch_all(&mut *connection)
            .await?;
        let (look, rows) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
        if look.try_get("is_late")? {
            sqlx::query(WAIT).bind(CLAIMS).execute(&mut *connection).await?;
            return Err(Trouble::Again);
        }
        let mut damaged = Vec::new();
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let id = row.try_get(at::ID.0)?;
            self.taken.push(id);
            match entry(row) {
                Ok(entry) => entries.push(entry),
                // On lease like any other, so that it holds up nobody, and looked at again when the lease ends.
                Err(error) => {
                    tracing::error!(%error, outbox.id = id, "an outbox entry makes no sense");
                    damaged.push((id, error.message().to_owned()));
                }
            }
        }
        let taken = entries.len() + damaged.len();
        for (id, reason) in damaged {
            // The job says why it does not start.
            sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, reason = $2, retry_at = $3 WHERE id = $1",
            )
            .bind(id)
            .bind(reason)
            .bind(leased_until)
            .execute(&mut *connection)
            .await?;
        }
        let brought_back = look.try_get("has_parked")? && bring_back(connection, now).await?;
        // With a single partition there is nobody to make up for what it has not.
        let is_all = taken == 0 || look.try_get::<i64, _>("partitions")? == 1 && taken < limit;
        let next_due: Option<i64> = look.try_get("next_due")?;
        Ok(Taken { entries, brought_back, is_all, next_due: next_due.map(Timestamp::from_millis) })
    }
}

/// Entries that may be tried again can be taken like any other.
async fn bring_back(connection: &mut PgConnection, now: Timestamp) -> Result<bool, sqlx::Error> {
    let back = sqlx::query(
        "UPDATE outbox SET parked_until = NULL WHERE id = ANY(ARRAY(
             SELECT id FROM outbox WHERE parked_until <= $1
             ORDER BY parked_until LIMIT 10000 FOR UPDATE SKIP LOCKED))",
    )
    .bind(now.as_millis())
    .execute(connection)
    .await?;
    Ok(back.rows_affected() > 0)
}

/// Of all advisory locks of the database, that of claims; those of creates are next to it.
const CLAIMS: i32 = 0x6a6f_6202;

/// Ends when no claim is under way.
const WAIT: &str = "SELECT pg_advisory_xact_lock_shared($1, 0)";

/// Finds what is due at `$1`, after the partition `$2`, at most `$3` entries and no more once these have `$7` bytes, and puts
/// it on lease for `$4` until `$5`. If those are not as many as wanted, it also says when to look again: the earliest time
/// that an entry waits for which was taken neither now nor before (`$6`). That is the first row, and the others are the entries. It
/// takes nothing and says so when it comes too early: another has the lock `$8`, or has taken what this one sees.
///
/// The commit does not wait for the disk, see [`unforced`].
const TAKE: &str = concat!(
    "WITH RECURSIVE claiming AS MATERIALIZED (
         SELECT pg_try_advisory_xact_lock($8, 0) AS is_alone
     ), first AS (
         (SELECT partition_id AS id, due_at FROM outbox
          WHERE (SELECT is_alone FROM claiming) AND due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
          ORDER BY partition_id, due_at, outbox.id LIMIT 1)
         UNION ALL
         SELECT next.* FROM first f
         CROSS JOIN LATERAL (
             SELECT partition_id, due_at FROM outbox
             WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
               AND outbox.partition_id > f.id
             ORDER BY partition_id, due_at, outbox.id LIMIT 1
         ) next
     ), leased AS MATERIALIZED (
         SELECT unnest(entries) AS id FROM lease WHERE leased_until > $1
         UNION ALL
         SELECT unnest($6::bigint[])
     ), due AS MATERIALIZED (
         SELECT f.id, row_number() OVER (ORDER BY f.id <= $2 COLLATE \"C\", f.id) AS turn
         FROM first f
         CROSS JOIN LATERAL (
             SELECT FROM outbox
             WHERE due_at <= $1 AND parked_until IS NULL AND NOT held AND NOT suspended AND outbox.partition_id = f.id
               AND outbox.id NOT IN (SELECT id FROM leased)
             ORDER BY due_at, outbox.id LIMIT 1
         ) free
         WHERE f.due_at <= $1
           AND NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = f.id)
     ), candidate AS (
         SELECT d.turn, o.*
         FROM (SELECT id, turn FROM due ORDER BY turn LIMIT $3) d
         CROSS JOIN LATERAL (
             SELECT free.*, row_number() OVER (ORDER BY free.due_at, free.id) AS round
             FROM (
                 SELECT id, due_at, partition_id, job_id, attempts, stowed, queue, headers, body
                 FROM outbox
                 WHERE due_at <= $1 AND parked_until IS NULL AND NOT held AND NOT suspended
                   AND outbox.partition_id = d.id AND id NOT IN (SELECT id FROM leased)
                 ORDER BY due_at, id
                 LIMIT (SELECT ($3 + count(*) - 1) / count(*) FROM due)
             ) free
         ) o
     ), with_task AS (
         SELECT c.*, d.*, coalesce(octet_length(d.task_data), octet_length(c.body), 0) AS size
         FROM (SELECT * FROM candidate ORDER BY round, turn LIMIT $3) c
         LEFT JOIN LATERAL (
             SELECT task_id, api_version, classifier, job_detail.queue AS task_queue, target, correlation_id,
                 task_data
             FROM job_detail
             WHERE NOT c.stowed AND job_detail.job_no = c.id AND job_detail.partition_id = c.partition_id OFFSET 0
         ) d ON true
     ), chosen AS MATERIALIZED (
         SELECT * FROM (SELECT *, sum(size) OVER (ORDER BY round, turn) - size AS before FROM with_task) s
         WHERE before < $7
     ), version AS (
         UPDATE lease_version SET version = version + 1
         WHERE is_only AND version = (SELECT version FROM lease_version WHERE is_only)
           AND EXISTS (SELECT FROM chosen)
         RETURNING version
     ), taken_over AS (
         UPDATE lease SET entries = ARRAY(
             SELECT e.id FROM unnest(entries) AS e(id) WHERE (e.id IN (SELECT id FROM chosen)) IS NOT TRUE ORDER BY e.id
         )
         WHERE leased_until <= $1 AND EXISTS (SELECT FROM version)
           AND entries[1] <= (SELECT max(id) FROM chosen)
           AND entries[cardinality(entries)] >= (SELECT min(id) FROM chosen)
     ), forgotten AS (
         -- Until then, whoever had a lease can settle what nobody took over.
         DELETE FROM lease
         WHERE (leased_until <= $1 AND entries = '{}' OR leased_until <= $1 - 86400000) AND EXISTS (SELECT FROM version)
     ), new_lease AS (
         INSERT INTO lease (owner, leased_until, entries)
         SELECT $4, $5, ARRAY(SELECT id FROM chosen ORDER BY id) FROM version
     ), taken AS MATERIALIZED (
         SELECT id FROM chosen UNION ALL SELECT id FROM leased
     ), other AS (
         (SELECT partition_id AS id, due_at FROM outbox
          WHERE (SELECT is_alone FROM claiming) AND due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
            AND outbox.id NOT IN (SELECT id FROM taken)
          ORDER BY partition_id, due_at, outbox.id LIMIT 1)
         UNION ALL
         SELECT next.* FROM other f
         CROSS JOIN LATERAL (
             SELECT partition_id, due_at FROM outbox
             WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
               AND outbox.partition_id > f.id AND outbox.id NOT IN (SELECT id FROM taken)
             ORDER BY partition_id, due_at, outbox.id LIMIT 1
         ) next
     ), free AS (
         SELECT min(f.due_at) AS due_at FROM other f
         WHERE NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = f.id)
     )
     SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, look.*
     FROM (
         SELECT ",
    unforced!(),
    ", (SELECT count(*) FROM due) AS partitions,
             NOT (SELECT is_alone FROM claiming)
                 OR EXISTS (SELECT FROM chosen) AND NOT EXISTS (SELECT FROM version) AS is_late,
             EXISTS (SELECT FROM outbox WHERE parked_until <= $1) AS has_parked,
             CASE
                 WHEN (SELECT count(*) FROM chosen) = $3 THEN NULL
                 -- Leases matter only when they are all that is due.
                 WHEN (SELECT due_at FROM free) <= $1 THEN (SELECT due_at FROM free)
                 ELSE least(
                     (SELECT due_at FROM free),
                     (SELECT min(leased_until) FROM lease WHERE leased_until > $1),
                     (SELECT parked_until FROM outbox
                      WHERE parked_until IS NOT NULL AND due_at IS NOT NULL AND NOT held AND NOT suspended
                      ORDER BY parked_until LIMIT 1)
                 )
             END AS next_due
     ) look
     UNION ALL
     (SELECT id, partition_id, job_id, attempts, stowed, queue, headers, body, task_id, task_queue, target, classifier,
         api_version, task_data, correlation_id, NULL, NULL, NULL, NULL, NULL
      FROM chosen ORDER BY round, turn)"
);

/// The places of the columns, whose names would be looked up anew for each of thousands of rows.
mod at {
    pub(super) const ID: Column = Column(0, "id");
    pub(super) const PARTITION_ID: Column = Column(1, "partition_id");
    pub(super) const JOB_ID: Column = Column(2, "job_id");
    pub(super) const ATTEMPTS: Column = Column(3, "attempts");
    pub(super) const STOWED: Column = Column(4, "stowed");
    pub(super) const QUEUE: Column = Column(5, "queue");
    pub(super) const HEADERS: Column = Column(6, "headers");
    pub(super) const BODY: Column = Column(7, "body");
    pub(super) const TASK_ID: Column = Column(8, "task_id");
    pub(super) const TASK_QUEUE: Column = Column(9, "task_queue");
    pub(super) const TARGET: Column = Column(10, "target");
    pub(super) const CLASSIFIER: Column = Column(11, "classifier");
    pub(super) const API_VERSION: Column = Column(12, "api_version");
    pub(super) const TASK_DATA: Column = Column(13, "task_data");
    pub(super) const CORRELATION_ID: Column = Column(14, "correlation_id");

    pub(super) struct Column(pub(super) usize, pub(super) &'static str);
}

fn entry(row: &PgRow) -> Result<OutboxEntry, Error> {
    let corrupt = |message: String| Error::new(ErrorKind::Corrupt, message);
    let job = JobKey::parse(column::<&str>(row, at::PARTITION_ID)?, column::<&str>(row, at::JOB_ID)?)
        .map_err(|error| corrupt(error.to_string()))?;
    let content = if column(row, at::STOWED)? {
        let headers: Option<&[u8]> = column(row, at::HEADERS)?;
        OutboxContent::Stowed {
            queue: column(row, at::QUEUE)?,
            body: column::<Vec<u8>>(row, at::BODY)?.into(),
            headers: headers
                .map_or_else(|| Ok(Default::default()), serde_json::from_slice)
                .map_err(|error| corrupt("stored headers make no sense".to_owned()).with_source(error))?,
        }
    } else {
        OutboxContent::Start {
            task_id: column(row, at::TASK_ID)?,
            task: TaskSpec {
                classifier: column(row, at::CLASSIFIER)?,
                api_version: column(row, at::API_VERSION)?,
                data: column::<Vec<u8>>(row, at::TASK_DATA)?.into(),
                queue: column(row, at::TASK_QUEUE)?,
                target: column(row, at::TARGET)?,
            },
            correlation_id: column(row, at::CORRELATION_ID)?,
        }
    };
    let id: i64 = column(row, at::ID)?;
    let attempts: i32 = column(row, at::ATTEMPTS)?;
    Ok(OutboxEntry { id: id.unsigned_abs(), job, content, attempts: attempts.unsigned_abs() })
}

/// A value that must be there: what cannot be read is one entry's trouble, not the claim's.
fn column<'r, T>(row: &'r PgRow, at::Column(place, name): at::Column) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(place).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("the stored {name} makes no sense")).with_source(error)
    })
}
