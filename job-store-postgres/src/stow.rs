//! Keeping messages of paused jobs.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use job_core::store::{StowOutcome, StowedMessage};
use job_core::{Error, ErrorKind, JobKey, Result, Timestamp};
use sqlx::PgConnection;

use crate::job_rows::{self, JobRow, JobRows, Lock};
use crate::step::{Form, Step, Trouble};

pub(crate) struct Stow<'a> {
    pub(crate) messages: &'a [StowedMessage],
    /// One for each message, used if it is kept.
    pub(crate) numbers: &'a [i64],
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Step for Stow<'_> {
    type Output = Vec<StowOutcome>;
    const NAME: &'static str = "store::stow";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<StowOutcome>, Trouble> {
        let keys: BTreeSet<JobKey> = self.messages.iter().map(|message| message.job.clone()).collect();
        // Locked, so that no job is resumed between the look at its status and the entry.
        let JobRows { rows, damaged } = job_rows::read(connection, &keys, Lock::InOrder).await?;
        let rows: HashMap<&JobKey, &JobRow> = rows.iter().map(|row| (&row.key, row)).collect();
        let damaged: HashMap<&JobKey, &Error> = damaged.iter().map(|row| (&row.key, &row.error)).collect();
        let live = |message: &StowedMessage| {
            rows.get(&message.job).copied().filter(|row| !row.state.status.is_finished())
        };
        let kept: Vec<(&StowedMessage, i64, &JobRow)> = self
            .messages
            .iter()
            .zip(self.numbers)
            .filter_map(|(message, number)| Some((message, *number, live(message)?)))
            .collect();
        self.insert(connection, &kept).await?;
        let outcome = |message: &StowedMessage| match damaged.get(&message.job) {
            Some(error) => StowOutcome::Damaged(error.message().to_owned()),
            None if live(message).is_some() => StowOutcome::Stowed,
            None => StowOutcome::Dropped,
        };
        Ok(self.messages.iter().map(outcome).collect())
    }
}

impl Stow<'_> {
    async fn insert(
        &self,
        connection: &mut PgConnection,
        kept: &[(&StowedMessage, i64, &JobRow)],
    ) -> Result<(), Trouble> {
        if kept.is_empty() {
            return Ok(());
        }
        let headers = kept
            .iter()
            .map(|(message, ..)| serde_json::to_vec(&message.headers))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                Error::new(ErrorKind::Internal, "headers cannot be written").with_source(error)
            })?;
        sqlx::query(
            "INSERT INTO outbox (id, partition_id, job_no, job_id, due_at, delay_millis, unmet, attempts, held,
                 suspended, stowed, queue, headers, body)
             SELECT k.id, k.partition_id, k.job_no, k.job_id, $8, 0, 0, 0, k.held, false, true, k.queue, k.headers,
                 k.body
             FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::boolean[], $6::text[], $7::bytea[],
                 $9::bytea[]) AS k(id, partition_id, job_no, job_id, held, queue, headers, body)",
        )
        .bind(kept.iter().map(|(_, number, _)| *number).collect::<Vec<_>>())
        .bind(kept.iter().map(|(.., row)| row.key.partition.as_str()).collect::<Vec<_>>())
        .bind(kept.iter().map(|(.., row)| row.job_no).collect::<Vec<_>>())
        .bind(kept.iter().map(|(.., row)| row.key.job.as_str()).collect::<Vec<_>>())
        .bind(kept.iter().map(|(.., row)| row.state.status.holds_messages()).collect::<Vec<_>>())
        .bind(kept.iter().map(|(message, ..)| message.queue.as_str()).collect::<Vec<_>>())
        .bind(headers)
        .bind(self.now.as_millis())
        .bind(kept.iter().map(|(message, ..)| message.body.as_ref()).collect::<Vec<_>>())
        .execute(connection)
        .await?;
        Ok(())
    }
}
