//! Who waits for whom: the table `job_dependency`, and what a finished job does to it.
//!
//! Edges are locked in the order of their primary key, before rows of the outbox.
//!
//! Where they are looked for by their prerequisite an order is asked for that only the primary key has. While the table is empty
//! its two indexes cost the same, and a plan that is made then could go through all edges of a partition by the other.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use job_core::dependency::due;
use job_core::{JobId, JobKey, PartitionId, Timestamp};
use sqlx::{PgConnection, Row};

use crate::read;
use crate::step::{Form, Step, Trouble};

/// Edges by prerequisite.
#[derive(Debug, Default)]
pub(crate) struct Edges(HashMap<JobKey, Vec<JobId>>);

impl Edges {
    pub(crate) fn dependents_of(&self, partition: &PartitionId, job: &JobId) -> &[JobId] {
        self.0.get(&JobKey::new(partition.clone(), job.clone())).map_or(&[], Vec::as_slice)
    }

    /// Every job that waits for somebody, as (partition, id).
    pub(crate) fn all_dependents(&self) -> impl Iterator<Item = JobKey> {
        self.0.iter().flat_map(|(key, dependents)| {
            dependents.iter().map(|job| JobKey::new(key.partition.clone(), job.clone()))
        })
    }

    fn add(&mut self, partition: &str, prerequisite: &str, dependent: &str) -> Result<(), Trouble> {
        let partition = PartitionId::new(partition).map_err(job_core::Error::from)?;
        if let (Some(prerequisite), Some(dependent)) = (read::id(prerequisite), read::id(dependent)) {
            self.0.entry(JobKey::new(partition, prerequisite)).or_default().push(dependent);
        }
        Ok(())
    }
}

/// Who waits for jobs, for whoever reads.
pub(crate) struct Dependents<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) prerequisites: &'a [JobId],
    pub(crate) limit: u32,
}

#[async_trait]
impl Step for Dependents<'_> {
    type Output = Vec<Vec<JobId>>;
    const NAME: &'static str = "store::dependents";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<Vec<JobId>>, Trouble> {
        let rows = sqlx::query(
            "SELECT k.place, d.dependent_id
             FROM unnest($2::text[]) WITH ORDINALITY AS k(job_id, place)
             CROSS JOIN LATERAL (
                 SELECT dependent_id FROM job_dependency
                 WHERE partition_id = $1 AND prerequisite_id = k.job_id COLLATE \"C\"
                 ORDER BY dependent_id LIMIT $3
             ) d
             ORDER BY k.place, d.dependent_id",
        )
        .bind(self.partition.as_str())
        .bind(self.prerequisites.iter().map(JobId::as_str).collect::<Vec<_>>())
        .bind(i64::from(self.limit))
        .fetch_all(connection)
        .await?;
        let mut dependents = vec![Vec::new(); self.prerequisites.len()];
        for row in rows {
            let place = usize::try_from(row.try_get::<i64, _>("place")? - 1).unwrap_or_default();
            let job = JobId::new(row.try_get::<&str, _>("dependent_id")?).map_err(job_core::Error::from)?;
            if let Some(list) = dependents.get_mut(place) {
                list.push(job);
            }
        }
        Ok(dependents)
    }
}

fn columns<'a>(keys: impl Iterator<Item = &'a JobKey> + Clone) -> (Vec<&'a str>, Vec<&'a str>) {
    (keys.clone().map(|key| key.partition.as_str()).collect(), keys.map(|key| key.job.as_str()).collect())
}

/// The edges that lead away from these jobs: to their dependents, to the dependents of those, and so on.
pub(crate) async fn closure<'a>(
    connection: &mut PgConnection,
    roots: impl Iterator<Item = &'a JobKey> + Clone,
) -> Result<Edges, Trouble> {
    let (partitions, ids) = columns(roots);
    let rows = sqlx::query(
        "WITH RECURSIVE edge(partition_id, prerequisite_id, dependent_id) AS (
             SELECT k.partition_id COLLATE \"C\", k.job_id COLLATE \"C\", d.dependent_id
             FROM unnest($1::text[], $2::text[]) AS k(partition_id, job_id)
             CROSS JOIN LATERAL (
                 SELECT dependent_id FROM job_dependency
                 WHERE partition_id = k.partition_id AND prerequisite_id = k.job_id
                 ORDER BY dependent_id OFFSET 0
             ) d
             UNION
             SELECT e.partition_id, e.dependent_id, d.dependent_id
             FROM edge e
             CROSS JOIN LATERAL (
                 SELECT dependent_id FROM job_dependency
                 WHERE partition_id = e.partition_id AND prerequisite_id = e.dependent_id
                 ORDER BY dependent_id OFFSET 0
             ) d
         )
         SELECT partition_id, prerequisite_id, dependent_id FROM edge
         ORDER BY partition_id, prerequisite_id, dependent_id",
    )
    .bind(partitions)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    let mut edges = Edges::default();
    for row in rows {
        edges.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)?;
    }
    Ok(edges)
}

/// These jobs do not wait for anybody any more.
pub(crate) async fn forget_prerequisites(
    connection: &mut PgConnection,
    partitions: &[&str],
    job_numbers: &[i64],
) -> Result<(), sqlx::Error> {
    if job_numbers.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM job_dependency WHERE ctid = ANY(ARRAY(
             SELECT ctid FROM job_dependency WHERE partition_id = ANY($1::text[]) AND dependent_no = ANY($2::bigint[])
             ORDER BY partition_id, prerequisite_id, dependent_id FOR UPDATE))",
    )
    .bind(partitions)
    .bind(job_numbers)
    .execute(connection)
    .await?;
    Ok(())
}

/// Nobody waits for these jobs any more. Whoever waits for nobody else becomes due after its delay; returns when the
/// earliest of those is due.
pub(crate) async fn release<'a>(
    connection: &mut PgConnection,
    completed: impl Iterator<Item = &'a JobKey> + Clone,
    now: Timestamp,
) -> Result<Option<Timestamp>, Trouble> {
    let (partitions, ids) = columns(completed);
    if ids.is_empty() {
        return Ok(None);
    }
    let entries = sqlx::query(
        "WITH gone AS (
             DELETE FROM job_dependency WHERE ctid = ANY(ARRAY(
                 SELECT d.ctid FROM unnest($1::text[], $2::text[]) AS k(partition_id, job_id)
                 CROSS JOIN LATERAL (
                     SELECT ctid FROM job_dependency
                     WHERE partition_id = k.partition_id AND prerequisite_id = k.job_id
                     ORDER BY prerequisite_id, dependent_id FOR UPDATE
                 ) d))
             RETURNING dependent_no
         )
         SELECT o.id, o.unmet, o.delay_millis, g.met
         FROM (SELECT dependent_no, count(*)::integer AS met FROM gone GROUP BY dependent_no ORDER BY dependent_no) g
         CROSS JOIN LATERAL (
             SELECT id, unmet, delay_millis FROM outbox WHERE outbox.id = g.dependent_no FOR UPDATE
         ) o",
    )
    .bind(partitions)
    .bind(ids)
    .fetch_all(&mut *connection)
    .await?;
    // Most of those who wait for the same job have the same to wait for besides, and the same delay.
    let mut alike: BTreeMap<(i32, Option<Timestamp>), Vec<i64>> = BTreeMap::new();
    for entry in entries {
        let id: i64 = entry.try_get(0)?;
        let unmet = (entry.try_get::<i32, _>(1)? - entry.try_get::<i32, _>(3)?).max(0);
        let delay = Duration::from_millis(entry.try_get::<i64, _>(2)?.unsigned_abs());
        alike.entry((unmet, due(unmet as usize, delay, now))).or_default().push(id);
    }
    for ((unmet, due_at), ids) in &alike {
        sqlx::query("UPDATE outbox SET unmet = $2, due_at = $3 WHERE id = ANY($1)")
            .bind(ids)
            .bind(unmet)
            .bind(due_at.map(Timestamp::as_millis))
            .execute(&mut *connection)
            .await?;
    }
    Ok(alike.keys().filter_map(|(_, due_at)| *due_at).min())
}
