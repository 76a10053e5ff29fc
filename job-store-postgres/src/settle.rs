//! Ending leases.
//!
//! What was published and what was not are a statement each, and a transaction each: neither says anything about the other.
//! Most often everything that was taken together is settled together, which ends its lease as a whole. What is settled of a
//! lease otherwise is taken out of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use job_core::store::{LeaseOwner, Settled};
use job_core::{JobKey, Result, Timestamp};
use sqlx::PgConnection;

use crate::step::{Form, Step, Trouble, unforced};

pub(crate) struct Settle<'a> {
    owner: LeaseOwner,
    entries: &'a [(u64, Settled)],
    /// Of entries that are known, the job whose first message each is, if it is one.
    jobs: &'a HashMap<u64, Option<JobKey>>,
    now: Timestamp,
    /// Those that are known to be settled, whatever becomes of the others.
    settled: HashSet<u64>,
}

impl<'a> Settle<'a> {
    pub(crate) fn new(
        owner: LeaseOwner,
        entries: &'a [(u64, Settled)],
        jobs: &'a HashMap<u64, Option<JobKey>>,
        now: Timestamp,
    ) -> Self {
        Self { owner, entries, jobs, now, settled: HashSet::new() }
    }
}

#[async_trait]
impl Step for Settle<'_> {
    type Output = Vec<bool>;
    const NAME: &'static str = "store::settle";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<bool>, Trouble> {
        // An entry that is named twice is on lease only once.
        let mut first: BTreeMap<u64, &Settled> = BTreeMap::new();
        for (id, settled) in self.entries {
            first.entry(*id).or_insert(settled);
        }
        let removed = self.remove(connection, &first).await?;
        self.settled.extend(removed);
        let parked = self.retry(connection, &first).await?;
        self.settled.extend(parked);
        let mut settled = std::mem::take(&mut self.settled);
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
    ) -> Result<Vec<u64>, Trouble> {
        let number = |id: &u64| i64::try_from(*id).ok();
        let is_published = |settled: &Settled| *settled == Settled::Published;
        let published = self.entries.iter().filter(|(_, settled)| is_published(settled));
        let published: BTreeSet<i64> = published.filter_map(|(id, _)| number(id)).collect();
        if published.is_empty() {
            return Ok(Vec::new());
        }
        let removed = first.iter().filter(|(_, settled)| is_published(settled));
        let removed: Vec<i64> = removed.filter_map(|(id, _)| number(id)).collect();
        let known = self.known(&published);
        let query = sqlx::query_scalar(if known.is_some() { REMOVE_KNOWN } else { REMOVE })
            .bind(removed)
            .bind(self.owner)
            .bind(self.now.as_millis());
        let query = match known {
            Some(known) => query
                .bind(known.iter().map(|(_, id)| *id).collect::<Vec<_>>())
                .bind(known.iter().map(|(key, _)| key.partition.as_str()).collect::<Vec<_>>())
                .bind(known.iter().map(|(key, _)| key.job.as_str()).collect::<Vec<_>>()),
            None => query.bind(published.into_iter().collect::<Vec<_>>()),
        };
        let removed: Vec<i64> = query.fetch_one(connection).await?;
        Ok(removed.into_iter().map(i64::unsigned_abs).collect())
    }

    /// The jobs whose first messages these were, in the order of their keys, unless one of them is not known.
    fn known(&self, published: &BTreeSet<i64>) -> Option<BTreeSet<(&JobKey, i64)>> {
        let mut known = BTreeSet::new();
        for id in published {
            let job = self.jobs.get(&id.unsigned_abs())?;
            known.extend(job.as_ref().map(|key| (key, *id)));
        }
        Some(known)
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
        let parked: Vec<i64> = sqlx::query_scalar(RETRY)
            .bind(ids)
            .bind(self.owner)
            .bind(failed.values().map(|(retry_at, _)| *retry_at).collect::<Vec<_>>())
            .bind(failed.values().map(|(_, reason)| reason.replace('\0', "\u{fffd}")).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        Ok(parked.into_iter().map(i64::unsigned_abs).collect())
    }
}

/// Of the entries `$1`, which are sorted, those that `$2` has on lease; and the end of that.
macro_rules! of_leases {
    () => {
        "WITH mine AS MATERIALIZED (
             SELECT CASE
                 WHEN EXISTS (SELECT FROM lease WHERE owner = $2 AND entries = $1) THEN $1
                 ELSE ARRAY(
                     SELECT e.id FROM lease CROSS JOIN LATERAL unnest(entries) AS e(id)
                     WHERE owner = $2 AND (e.id IN (SELECT unnest($1::bigint[]))) IS TRUE
                     ORDER BY e.id
                 )
             END AS ids
         ), ended AS (
             DELETE FROM lease WHERE owner = $2 AND entries = $1
         ), cut AS (
             UPDATE lease SET entries = ARRAY(
                 SELECT e.id FROM unnest(entries) AS e(id)
                 WHERE (e.id IN (SELECT unnest($1::bigint[]))) IS NOT TRUE
                 ORDER BY e.id
             )
             -- The bounds keep away from what was taken before and after.
             WHERE owner = $2 AND entries <> $1
               AND entries[1] <= $1[cardinality($1)] AND entries[cardinality(entries)] >= $1[1]
         )"
    };
}

/// Removes the entries `$1` that `$2` has on lease, and marks the jobs of the entries `$4`, where these were first messages, as
/// started at `$3`.
///
/// Jobs are locked one by one in the order of their keys and before the outbox, which the gate at the end sees to. The order is
/// that in which the update visits them: it goes from the sorted few to the primary key, on small tables too, since sessions
/// plan no other join. Were it to go elsewhere, what could come of it is a deadlock, after which the step is run again.
///
/// The commit does not wait for the disk, see [`unforced`].
macro_rules! remove {
    ($published:literal) => {
        concat!(
            of_leases!(),
            ", published AS (",
            $published,
            "), started AS (
                 UPDATE job SET start_time = $3 FROM published p
                 WHERE job.partition_id = p.partition_id AND job.job_id = p.job_id AND job.job_no = p.job_no
                   AND job.start_time IS NULL
                 RETURNING job.job_no
             ), removed AS (
                 DELETE FROM outbox WHERE (SELECT count(*) FROM started) IS NOT NULL AND (SELECT ",
            unforced!(),
            ") = 'off' AND id = ANY((SELECT ids FROM mine)::bigint[])
                 RETURNING id
             )
             SELECT coalesce(array_agg(id), '{}') FROM removed"
        )
    };
}

const REMOVE: &str = remove!(
    "SELECT detail.* FROM unnest($4::bigint[]) AS k(id)
     CROSS JOIN LATERAL (
         SELECT partition_id, job_id, job_no FROM job_detail WHERE job_no = k.id OFFSET 0
     ) detail
     ORDER BY detail.partition_id, detail.job_id"
);

/// The same for jobs whose keys `$5` and `$6` are known, and sorted.
const REMOVE_KNOWN: &str = remove!(
    "SELECT job_no, partition_id, job_id
     FROM unnest($4::bigint[], $5::text[], $6::text[]) AS k(job_no, partition_id, job_id)"
);

/// Parks the entries `$1` that `$2` has on lease, each until `$3` and for the reason `$4`.
const RETRY: &str = concat!(
    of_leases!(),
    " UPDATE outbox SET attempts = attempts + 1, retry_at = k.retry_at, parked_until = k.retry_at, reason = k.reason
     FROM unnest($1::bigint[], $3::bigint[], $4::text[]) AS k(id, retry_at, reason)
     WHERE outbox.id = k.id AND outbox.id = ANY(ARRAY(
         SELECT id FROM outbox WHERE id = ANY((SELECT ids FROM mine)::bigint[]) ORDER BY id FOR UPDATE))
     RETURNING outbox.id"
);
