//! What is stored about jobs outside their own rows.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use job_core::verify::{FirstEntry, Outgoing};
use job_core::{PartitionId, Result, Timestamp};
use sqlx::{PgConnection, Row};

use crate::job_rows::JobRow;
use crate::read;
use crate::sort_key::SortKey;
use crate::step::Trouble;

#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) hundredths: i16,
    pub(super) percentage_group: i16,
    pub(super) update_group: i64,
    pub(super) edges: i64,
    delay_millis: i64,
    pub(super) failures: i64,
    pub(super) last_failure: i64,
    pub(super) has_progress_rows: bool,
    first: Option<FirstEntry>,
    task_kept: bool,
    stowed: i64,
    stowed_and_held: i64,
    /// `None` when the job's row in `job_detail` is missing.
    pub(super) labels: Option<BTreeMap<String, SortKey>>,
    /// The labels by which the job is found.
    pub(super) indexed_labels: BTreeMap<String, SortKey>,
}

impl Facts {
    pub(super) fn outgoing(&self, create_time: Timestamp) -> Outgoing {
        let count = |count: i64| usize::try_from(count).unwrap_or_default();
        Outgoing {
            unmet: count(self.edges),
            delay: Duration::from_millis(self.delay_millis.unsigned_abs()),
            create_time,
            first: self.first,
            task_kept: self.task_kept,
            kept: count(self.stowed),
            kept_held: count(self.stowed_and_held),
        }
    }
}

/// The facts about locked jobs of one partition, by number.
pub(super) async fn read(
    connection: &mut PgConnection,
    partition: &PartitionId,
    rows: &[JobRow],
) -> Result<HashMap<i64, Facts>, Trouble> {
    let records = sqlx::query(
        "SELECT k.job_no, j.hundredths, j.percentage_group, j.update_group, d.labels::text AS labels,
             d.job_no IS NOT NULL AS has_detail,
             (SELECT count(*) FROM job_dependency e WHERE e.partition_id = $1 AND e.dependent_no = k.job_no) AS edges,
             (SELECT count(*) FROM job_failure f WHERE f.partition_id = $1 AND f.job_no = k.job_no) AS failures,
             (SELECT coalesce(max(place), 0) FROM job_failure f WHERE f.partition_id = $1 AND f.job_no = k.job_no)
                 AS last_failure,
             EXISTS (SELECT FROM job_progress p WHERE p.partition_id = $1 AND p.job_no = k.job_no OFFSET 0)
                 AS has_progress_rows,
             o.unmet, o.due_at, o.held, coalesce(d.delay_millis, 0) AS delay_millis, d.task_id IS NOT NULL AS task_kept,
             (SELECT count(*) FROM outbox s WHERE s.stowed AND s.partition_id = $1 AND s.job_no = k.job_no) AS stowed,
             (SELECT count(*) FROM outbox s WHERE s.stowed AND s.partition_id = $1 AND s.job_no = k.job_no AND s.held)
                 AS stowed_and_held,
             l.label_keys, l.label_values, l.label_rests
         FROM unnest($2::bigint[], $3::text[]) AS k(job_no, job_id)
         CROSS JOIN LATERAL (
             SELECT hundredths, percentage_group, update_group FROM job
             WHERE job.partition_id = $1 AND job.job_id = k.job_id OFFSET 0
         ) j
         LEFT JOIN LATERAL (
             SELECT job_no, labels, create_time, delay_millis, task_id FROM job_detail
             WHERE job_detail.job_no = k.job_no AND job_detail.partition_id = $1 OFFSET 0
         ) d ON true
         LEFT JOIN LATERAL (
             SELECT unmet, due_at, held FROM outbox WHERE outbox.id = k.job_no OFFSET 0
         ) o ON true
         CROSS JOIN LATERAL (
             SELECT array_agg(x.label_key) AS label_keys, array_agg(x.value_key) AS label_values, array_agg(x.value_rest) AS label_rests
             FROM jsonb_object_keys(d.labels) AS name(label_key)
             CROSS JOIN LATERAL (
                 SELECT label_key, value_key, value_rest FROM job_label
                 WHERE job_label.partition_id = $1 AND job_label.label_key = name.label_key
                   AND job_label.create_time = d.create_time AND job_label.job_no = k.job_no OFFSET 0
             ) x
         ) l",
    )
    .bind(partition.as_str())
    .bind(rows.iter().map(|row| row.job_no).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.key.job.as_str()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    records.iter().map(|record| Ok((record.try_get("job_no")?, facts(record)?))).collect()
}

fn facts(record: &sqlx::postgres::PgRow) -> Result<Facts, Trouble> {
    let first = match record.try_get::<Option<i32>, _>("unmet")? {
        Some(unmet) => Some(FirstEntry {
            unmet: usize::try_from(unmet).ok(),
            due: record.try_get::<Option<i64>, _>("due_at")?.map(Timestamp::from_millis),
            held: record.try_get("held")?,
        }),
        None => None,
    };
    let labels = if record.try_get("has_detail")? {
        let labels = read::labels(record.try_get("labels")?)?;
        Some(labels.into_iter().map(|(key, value)| (key, SortKey::of(value.as_deref()))).collect())
    } else {
        None
    };
    let keys: Option<Vec<String>> = record.try_get("label_keys")?;
    let values: Option<Vec<Vec<u8>>> = record.try_get("label_values")?;
    let rests: Option<Vec<Option<Vec<u8>>>> = record.try_get("label_rests")?;
    let sort_keys = values.unwrap_or_default().into_iter().zip(rests.unwrap_or_default());
    let sort_keys = sort_keys.map(|(key, rest)| SortKey { key, rest });
    Ok(Facts {
        hundredths: record.try_get("hundredths")?,
        percentage_group: record.try_get("percentage_group")?,
        update_group: record.try_get("update_group")?,
        edges: record.try_get("edges")?,
        failures: record.try_get("failures")?,
        last_failure: record.try_get("last_failure")?,
        has_progress_rows: record.try_get("has_progress_rows")?,
        delay_millis: record.try_get("delay_millis")?,
        first,
        task_kept: record.try_get("task_kept")?,
        stowed: record.try_get("stowed")?,
        stowed_and_held: record.try_get("stowed_and_held")?,
        labels,
        indexed_labels: keys.unwrap_or_default().into_iter().zip(sort_keys).collect(),
    })
}
