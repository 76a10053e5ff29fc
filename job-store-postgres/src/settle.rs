//! Ending leases.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use job_core::store::{LeaseOwner, Settled};
use job_core::{Result, Timestamp};
use sqlx::{PgConnection, Row};

use crate::step::{BEGIN_UNFORCED, Form, Step, Trouble};

pub(crate) struct Settle<'a> {
    pub(crate) owner: LeaseOwner,
    pub(crate) entries: &'a [(u64, Settled)],
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Step for Settle<'_> {
    type Output = Vec<bool>;
    const NAME: &'static str = "store::settle";
    const FORM: Form = Form::Transaction;

    fn opening(&self) -> Cow<'static, str> {
        BEGIN_UNFORCED.into()
    }

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<bool>, Trouble> {
        // An entry that is named twice is on lease only once.
        let mut first: BTreeMap<u64, &Settled> = BTreeMap::new();
        for (id, settled) in self.entries {
            first.entry(*id).or_insert(settled);
        }
        let mut settled = self.remove(connection, &first).await?;
        settled.extend(self.retry(connection, &first).await?);
        Ok(self.entries.iter().map(|(id, _)| settled.remove(id)).collect())
    }
}

impl Settle<'_> {
    /// Removes what was published, and marks the jobs whose first message that was. The entry may be gone meanwhile: its
    /// id is the job's number.
    async fn remove(
        &self,
        connection: &mut PgConnection,
        first: &BTreeMap<u64, &Settled>,
    ) -> Result<HashSet<u64>, Trouble> {
        let number = |id: &u64| i64::try_from(*id).ok();
        let is_published = |settled: &Settled| *settled == Settled::Published;
        let published = self.entries.iter().filter(|(_, settled)| is_published(settled));
        let published: Vec<i64> = published.filter_map(|(id, _)| number(id)).collect();
        if published.is_empty() {
            return Ok(HashSet::new());
        }
        // Jobs are locked one by one in the order of their keys. Where they are is found by the next statement: this one
        // may wait for a change that it cannot see.
        let locked = sqlx::query(
            "SELECT d.partition_id, d.job_id, d.job_no FROM (
                 SELECT detail.* FROM unnest($1::bigint[]) AS k(id)
                 CROSS JOIN LATERAL (
                     SELECT partition_id, job_id, job_no FROM job_detail WHERE job_no = k.id OFFSET 0
                 ) detail
                 ORDER BY detail.partition_id, detail.job_id
             ) d
             CROSS JOIN LATERAL (
                 SELECT FROM job
                 WHERE job.partition_id = d.partition_id AND job.job_id = d.job_id AND job.job_no = d.job_no
                   AND start_time IS NULL FOR UPDATE
             ) j",
        )
        .bind(&published)
        .fetch_all(&mut *connection)
        .await?;
        let column = |column: usize| -> Result<Vec<&str>, sqlx::Error> {
            locked.iter().map(|row| row.try_get(column)).collect()
        };
        let numbers: Vec<i64> = locked.iter().map(|row| row.try_get(2)).collect::<Result<_, _>>()?;
        let removed = first.iter().filter(|(_, settled)| is_published(settled));
        let removed: Vec<i64> = sqlx::query_scalar(
            "WITH dispatched AS (
                 UPDATE job SET start_time = $4 WHERE ctid = ANY(ARRAY(
                     SELECT j.ctid FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k(partition_id, job_id, job_no)
                     CROSS JOIN LATERAL (
                         SELECT ctid FROM job
                         WHERE job.partition_id = k.partition_id AND job.job_id = k.job_id AND job.job_no = k.job_no
                           AND start_time IS NULL OFFSET 0
                     ) j))
             )
             DELETE FROM outbox WHERE id = ANY(ARRAY(
                 SELECT id FROM outbox WHERE id = ANY($5) AND lease_owner = $6 ORDER BY id FOR UPDATE))
             RETURNING id",
        )
        .bind(column(0)?)
        .bind(column(1)?)
        .bind(numbers)
        .bind(self.now.as_millis())
        .bind(removed.filter_map(|(id, _)| number(id)).collect::<Vec<i64>>())
        .bind(self.owner)
        .fetch_all(connection)
        .await?;
        Ok(removed.into_iter().map(i64::unsigned_abs).collect())
    }

    async fn retry(
        &self,
        connection: &mut PgConnection,
        first: &BTreeMap<u64, &Settled>,
    ) -> Result<Vec<u64>, Trouble> {
        let mut failed: BTreeMap<i64, (i64, &str)> = BTreeMap::new();
        for (id, settled) in first {
            if let (Ok(id), Settled::Failed { retry_at, reason }) = (i64::try_from(*id), settled) {
                failed.insert(id, (retry_at.as_millis(), reason.as_str()));
            }
        }
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<i64> = failed.keys().copied().collect();
        sqlx::query("SELECT FROM outbox WHERE id = ANY($1) AND lease_owner = $2 ORDER BY id FOR UPDATE")
            .bind(&ids)
            .bind(self.owner)
            .execute(&mut *connection)
            .await?;
        let parked: Vec<i64> = sqlx::query_scalar(
            "UPDATE outbox SET attempts = attempts + 1, retry_at = k.retry_at, parked_until = k.retry_at,
                 lease_owner = NULL, reason = k.reason
             FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS k(id, retry_at, reason)
             WHERE outbox.id = k.id AND outbox.id = ANY($1) AND lease_owner = $4
             RETURNING outbox.id",
        )
        .bind(ids)
        .bind(failed.values().map(|(retry_at, _)| *retry_at).collect::<Vec<_>>())
        .bind(failed.values().map(|(_, reason)| reason.replace('\0', "\u{fffd}")).collect::<Vec<_>>())
        .bind(self.owner)
        .fetch_all(connection)
        .await?;
        Ok(parked.into_iter().map(i64::unsigned_abs).collect())
    }
}
