//! Taking outbox entries on lease.
//!
//! An entry that is on lease, or that is to be tried again later, is parked: it is not in the index of due entries, so
//! that a claim never pages past it, however many there are. A claim first brings back those whose time has come; that
//! is one look at an index.
//!
//! Partitions take turns. Their due entries are found by skipping from partition to partition along the index, to the first
//! entry of each. Each gives an equal share of what is asked for, and what some cannot give is asked of the others in another
//! round.
//!
//! What was dispatched lately is dead in that index until it is vacuumed, and every look passes it: so there are as few looks
//! as there can be, two where a claim gets all it asks for.
//!
//! Rows that another dispatcher is taking at this moment are skipped, not waited for.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use job_core::store::{ClaimRequest, Claimed, OutboxContent, OutboxEntry};
use job_core::{Error, ErrorKind, JobKey, PartitionId, Result, TaskSpec, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::step::{BEGIN_UNFORCED, Form, Step, Trouble};

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
}

#[async_trait]
impl Step for Claim<'_> {
    type Output = Claimed;
    const NAME: &'static str = "store::claim";
    const FORM: Form = Form::Transaction;

    /// Entries whose lease has ended or that may be tried again can be taken like any other.
    fn opening(&self) -> Cow<'static, str> {
        let now = self.request.now.as_millis();
        format!(
            "{BEGIN_UNFORCED}; UPDATE outbox SET parked_until = NULL WHERE id = ANY(ARRAY(
                 SELECT id FROM outbox WHERE parked_until <= {now} ORDER BY parked_until LIMIT 10000
                 FOR UPDATE SKIP LOCKED))"
        )
        .into()
    }

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Claimed, Trouble> {
        let ClaimRequest { now, limit, .. } = self.request;
        let limit = limit.max(1) as usize;
        let mut claimed = Claimed::default();
        loop {
            let taken = self.take(connection, limit - claimed.entries.len(), &claimed.entries).await?;
            if let Some(last) = taken.entries.last() {
                self.turn.set(&last.job.partition);
            }
            claimed.next_due = taken.next_due;
            claimed.entries.extend(taken.entries);
            if claimed.entries.len() == limit {
                // Whatever else there is, it is looked at again at once.
                claimed.next_due = Some(now);
                return Ok(claimed);
            }
            if taken.is_all {
                return Ok(claimed);
            }
        }
    }
}

/// What one round took.
struct Taken {
    entries: Vec<OutboxEntry>,
    /// Whether there is nothing left that another round could take.
    is_all: bool,
    next_due: Option<Timestamp>,
}

impl Claim<'_> {
    async fn take(
        &self,
        connection: &mut PgConnection,
        limit: usize,
        before: &[OutboxEntry],
    ) -> Result<Taken, Trouble> {
        let ClaimRequest { owner, now, lease, .. } = self.request;
        let rows = sqlx::query(
            "WITH RECURSIVE first AS (
                 (SELECT partition_id AS id, due_at FROM outbox
                  WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
                  ORDER BY partition_id, due_at, outbox.id LIMIT 1)
                 UNION ALL
                 SELECT next.* FROM first f
                 CROSS JOIN LATERAL (
                     SELECT partition_id, due_at FROM outbox
                     WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
                       AND outbox.partition_id > f.id
                     ORDER BY partition_id, due_at, outbox.id LIMIT 1
                 ) next
             ), due AS MATERIALIZED (
                 SELECT f.id, row_number() OVER (ORDER BY f.id <= $2 COLLATE \"C\", f.id) AS turn
                 FROM first f
                 WHERE f.due_at <= $1
                   AND NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = f.id)
             ), candidate AS MATERIALIZED (
                 SELECT d.turn, o.*
                 FROM (SELECT id, turn FROM due ORDER BY turn LIMIT $3) d
                 CROSS JOIN LATERAL (
                     SELECT locked.*, row_number() OVER (ORDER BY locked.due_at, locked.id) AS round
                     FROM (
                         SELECT id, due_at, partition_id, job_id, attempts, stowed, queue, headers, body
                         FROM outbox
                         WHERE due_at <= $1 AND parked_until IS NULL AND NOT held AND NOT suspended
                           AND outbox.partition_id = d.id
                         ORDER BY due_at, id
                         LIMIT (SELECT ($3 + count(*) - 1) / count(*) FROM due)
                         FOR UPDATE SKIP LOCKED
                     ) locked
                 ) o
             )
             SELECT c.*, d.*, (SELECT count(*) FROM due) AS partitions
             FROM (SELECT * FROM candidate ORDER BY round, turn LIMIT $3) c
             LEFT JOIN LATERAL (
                 SELECT task_id, api_version, classifier, job_detail.queue AS task_queue, target, correlation_id,
                     task_data
                 FROM job_detail
                 WHERE NOT c.stowed AND job_detail.job_no = c.id AND job_detail.partition_id = c.partition_id OFFSET 0
             ) d ON true
             ORDER BY c.round, c.turn",
        )
        .bind(now.as_millis())
        .bind(self.turn.last())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
        let mut taken = Vec::with_capacity(rows.len());
        let mut damaged = Vec::new();
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            taken.push(row.try_get::<i64, _>("id")?);
            match entry(row) {
                Ok(entry) => entries.push(entry),
                // On lease like any other, so that it holds up nobody, and looked at again when the lease ends.
                Err(error) => {
                    tracing::error!(%error, outbox.id = taken.last(), "an outbox entry makes no sense");
                    damaged.push((taken.last().copied(), error.message().to_owned()));
                }
            }
        }
        // With a single partition there is nobody to make up for what it has not.
        let partitions = rows.first().map(|row| row.try_get::<i64, _>("partitions")).transpose()?;
        let is_all = partitions.is_none_or(|partitions| partitions == 1 && rows.len() < limit);
        let others = before.iter().map(|entry| entry.id as i64);
        let all_taken: Vec<i64> = others.chain(taken.iter().copied()).collect();
        let lease_end = now.saturating_add(lease).as_millis();
        let next_due: Option<i64> = if entries.len() == limit {
            sqlx::query(LEASE).bind(taken).bind(owner).bind(lease_end).execute(&mut *connection).await?;
            None
        } else {
            sqlx::query_scalar(LEASE_AND_LOOK_AHEAD)
                .bind(taken)
                .bind(owner)
                .bind(lease_end)
                .bind(all_taken)
                .fetch_one(&mut *connection)
                .await?
        };
        for (id, reason) in damaged {
            // The job says why it does not start.
            sqlx::query("UPDATE outbox SET attempts = attempts + 1, reason = $2, retry_at = parked_until WHERE id = $1")
                .bind(id)
                .bind(reason)
                .execute(&mut *connection)
                .await?;
        }
        Ok(Taken { entries, is_all, next_due: next_due.map(Timestamp::from_millis) })
    }
}

/// Puts `$1` on lease.
const LEASE: &str = "UPDATE outbox SET lease_owner = $2, parked_until = $3 WHERE id = ANY($1)";

/// The same, and says when to look again: the earliest time that an entry waits for which was not taken (`$4`).
const LEASE_AND_LOOK_AHEAD: &str = "
    WITH RECURSIVE leased AS (
        UPDATE outbox SET lease_owner = $2, parked_until = $3 WHERE id = ANY($1)
    ), first AS (
        (SELECT partition_id AS id, due_at FROM outbox
         WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
           AND outbox.id <> ALL($4)
         ORDER BY partition_id, due_at, outbox.id LIMIT 1)
        UNION ALL
        SELECT next.* FROM first f
        CROSS JOIN LATERAL (
            SELECT partition_id, due_at FROM outbox
            WHERE due_at IS NOT NULL AND parked_until IS NULL AND NOT held AND NOT suspended
              AND outbox.partition_id > f.id AND outbox.id <> ALL($4)
            ORDER BY partition_id, due_at, outbox.id LIMIT 1
        ) next
    )
    SELECT least(
        (SELECT min(f.due_at) FROM first f
         WHERE NOT EXISTS (SELECT FROM suspended_partition s WHERE s.partition_id = f.id)),
        (SELECT parked_until FROM outbox
         WHERE parked_until IS NOT NULL AND due_at IS NOT NULL AND NOT held AND NOT suspended AND id <> ALL($4)
         ORDER BY parked_until LIMIT 1))";

fn entry(row: &PgRow) -> Result<OutboxEntry, Error> {
    let corrupt = |message: String| Error::new(ErrorKind::Corrupt, message);
    let job = JobKey::parse(column::<&str>(row, "partition_id")?, column::<&str>(row, "job_id")?)
        .map_err(|error| corrupt(error.to_string()))?;
    let content = if column(row, "stowed")? {
        let headers: Option<&[u8]> = column(row, "headers")?;
        OutboxContent::Stowed {
            queue: column(row, "queue")?,
            body: column::<Vec<u8>>(row, "body")?.into(),
            headers: headers
                .map_or_else(|| Ok(Default::default()), serde_json::from_slice)
                .map_err(|error| corrupt("stored headers make no sense".to_owned()).with_source(error))?,
        }
    } else {
        OutboxContent::Start {
            task_id: column(row, "task_id")?,
            task: TaskSpec {
                classifier: column(row, "classifier")?,
                api_version: column(row, "api_version")?,
                data: column::<Vec<u8>>(row, "task_data")?.into(),
                queue: column(row, "task_queue")?,
                target: column(row, "target")?,
            },
            correlation_id: column(row, "correlation_id")?,
        }
    };
    let id: i64 = column(row, "id")?;
    let attempts: i32 = column(row, "attempts")?;
    Ok(OutboxEntry { id: id.unsigned_abs(), job, content, attempts: attempts.unsigned_abs() })
}

/// A value that must be there: what cannot be read is one entry's trouble, not the claim's.
fn column<'r, T>(row: &'r PgRow, name: &str) -> Result<T, Error>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("the stored {name} makes no sense")).with_source(error)
    })
}
