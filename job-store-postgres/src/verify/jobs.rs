//! Checking jobs one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;
use job_core::store::{Drift, Recorded};
use job_core::verify::{Findings, OutgoingRepair, ProgressRepair, check_outgoing, check_progress};
use job_core::{JobKey, PartitionId, Result, TaskPath, Timestamp};
use sqlx::PgConnection;

use super::facts::{self, Facts};
use crate::failures::FailureChanges;
use crate::job_rows::{self, JobRow, JobRows, Lock, percentage_group, update_group};
use crate::progress_rows::{self, Broken, LoadedTree};
use crate::record::{Decided, DecidedJob, LoadedJob, write};
use crate::sort_key::SortKey;
use crate::step::{Form, Step, Trouble};
use crate::{dependents, outbox_rows};

pub(super) struct VerifyJobs<'a> {
    pub(super) partition: &'a PartitionId,
    pub(super) keys: Vec<JobKey>,
    pub(super) repair: bool,
}

#[async_trait]
impl Step for VerifyJobs<'_> {
    type Output = Vec<Drift>;
    const NAME: &'static str = "store::verify";
    const FORM: Form = Form::Transaction;
    const IS_LONG: bool = true;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<Drift>, Trouble> {
        let keys: BTreeSet<JobKey> = self.keys.iter().cloned().collect();
        let JobRows { rows, damaged } = job_rows::read(connection, &keys, Lock::InOrder).await?;
        let facts = facts::read(connection, self.partition, &rows).await?;
        let mut findings = Findings::new(self.repair);
        for row in damaged {
            findings.note(&row.key, "job", row.error.message(), "readable");
        }
        let mut changed: HashMap<JobKey, DecidedJob> = HashMap::new();
        let mut recorded = Recorded::default();
        let mut failures = FailureChanges::default();
        let mut now = Timestamp::default();
        for row in rows {
            let Some(facts) = facts.get(&row.job_no) else { continue };
            follow_up(connection, &row, facts, &mut findings).await?;
            let Some((mut job, repair)) = progress(connection, row, facts, &mut findings).await? else {
                continue;
            };
            let row = &mut job.job.row;
            if repair == ProgressRepair::Complete {
                failures.end(row, &TaskPath::root());
                recorded.completed.push(row.key.clone());
                now = now.max(row.state.last_update_time);
            }
            changed.insert(row.key.clone(), job);
        }
        write(connection, Decided { recorded, jobs: changed, failures }, now).await?;
        Ok(findings.into_drifts())
    }
}

/// The tree in itself, and what the job shows of it; returns the job when it is to be written, and what its progress
/// asks for.
async fn progress(
    connection: &mut PgConnection,
    mut row: JobRow,
    facts: &Facts,
    findings: &mut Findings,
) -> Result<Option<(DecidedJob, ProgressRepair)>, Trouble> {
    let key = row.key.clone();
    let mut is_changed = own_columns(&mut row, facts, findings);
    let is_stored = row.progress.is_some() || facts.has_progress_rows;
    let loaded = if row.state.status.keeps_progress() {
        progress_rows::load_all(connection, &row).await?
    } else {
        Ok(LoadedTree::default())
    };
    let mut progress = match loaded {
        Ok(progress) => progress,
        Err(Broken(reason)) => {
            // What is damaged cannot be repaired from anything else.
            findings.note(&key, "progress", reason, "readable");
            return Ok(None);
        }
    };
    let tree = is_stored.then_some(&mut progress.tree);
    let repair = check_progress(&key, &mut row.state, tree, findings);
    is_changed |= repair != ProgressRepair::None;
    let dropped = if repair == ProgressRepair::Drop { vec![TaskPath::root()] } else { Vec::new() };
    let job =
        LoadedJob { row: Box::new(row), progress: Box::new(progress), broken: None, is_recalled: false };
    let job = DecidedJob { job, is_changed: true, dropped };
    Ok((is_changed && findings.repair()).then_some((job, repair)))
}

/// Columns that are derived from others.
fn own_columns(row: &mut JobRow, facts: &Facts, findings: &mut Findings) -> bool {
    let key = row.key.clone();
    let hundredths = row.state.percentage.hundredths();
    let mut changed = findings.compare(&key, "shown percentage", &facts.hundredths, &(hundredths as i16));
    changed |=
        findings.compare(&key, "percentage group", &facts.percentage_group, &percentage_group(hundredths));
    changed |= findings.compare(
        &key,
        "update group",
        &facts.update_group,
        &update_group(row.state.last_update_time),
    );
    if findings.compare(&key, "failure count", &row.failure_count, &facts.failures) {
        row.failure_count = facts.failures;
        row.needs_whole_write = true;
        changed = true;
    }
    if row.last_failure < facts.last_failure
        && findings.note(&key, "last failure", row.last_failure, facts.last_failure)
    {
        row.last_failure = facts.last_failure;
        row.needs_whole_write = true;
        changed = true;
    }
    if facts.has_progress_rows
        && !row.has_progress_rows
        && findings.note(&key, "rows of progress", "unknown", "known")
    {
        row.has_progress_rows = true;
        changed = true;
    }
    if facts.edges > 0 && !row.has_prerequisites && findings.note(&key, "prerequisites", "unknown", "known") {
        row.has_prerequisites = true;
        row.needs_whole_write = true;
        changed = true;
    }
    changed
}

/// What belongs to the job in other tables.
async fn follow_up(
    connection: &mut PgConnection,
    row: &JobRow,
    facts: &Facts,
    findings: &mut Findings,
) -> Result<(), Trouble> {
    let key = &row.key;
    match &facts.labels {
        None => {
            findings.note(key, "details", "missing", "stored");
        }
        Some(labels) if *labels != facts.indexed_labels => {
            if findings.note(key, "labels", facts.indexed_labels.keys(), labels.keys()) {
                index_labels(connection, row, labels).await?;
            }
        }
        Some(_) => {}
    }
    let stored = facts.outgoing(row.create_time);
    let (partition, number) = ([key.partition.as_str()], [row.job_no]);
    for repair in check_outgoing(key, &row.state, &stored, findings) {
        match repair {
            OutgoingRepair::ForgetPrerequisites => {
                dependents::forget_prerequisites(connection, &partition, &number).await?;
            }
            OutgoingRepair::RemoveEntries => outbox_rows::remove(connection, &partition, &number).await?,
            OutgoingRepair::Hold(held) => outbox_rows::hold(connection, &partition, &number, held).await?,
            OutgoingRepair::Due(due) => set_due(connection, row, stored.unmet, due).await?,
            OutgoingRepair::PutBack(due) => {
                outbox_rows::put_back(connection, &[row], row.create_time).await?;
                set_due(connection, row, stored.unmet, due).await?;
            }
        }
    }
    Ok(())
}

async fn set_due(
    connection: &mut PgConnection,
    row: &JobRow,
    unmet: usize,
    due: Option<Timestamp>,
) -> Result<(), Trouble> {
    sqlx::query("UPDATE outbox SET unmet = $2, due_at = $3 WHERE id = $1")
        .bind(row.job_no)
        .bind(i32::try_from(unmet).unwrap_or(i32::MAX))
        .bind(due.map(Timestamp::as_millis))
        .execute(connection)
        .await?;
    Ok(())
}

async fn index_labels(
    connection: &mut PgConnection,
    row: &JobRow,
    labels: &BTreeMap<String, SortKey>,
) -> Result<(), Trouble> {
    let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
    sqlx::query(
        "DELETE FROM job_label WHERE partition_id = $1 AND label_key = ANY($2) AND create_time = $3 AND job_no = $4",
    )
    .bind(row.key.partition.as_str())
    .bind(&keys)
    .bind(row.create_time.as_millis())
    .bind(row.job_no)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO job_label (partition_id, label_key, value_key, value_rest, job_id, create_time, job_no)
         SELECT $1, k.label_key, k.value_key, k.value_rest, $5, $3, $4
         FROM unnest($2::text[], $6::bytea[], $7::bytea[]) AS k(label_key, value_key, value_rest)",
    )
    .bind(row.key.partition.as_str())
    .bind(&keys)
    .bind(row.create_time.as_millis())
    .bind(row.job_no)
    .bind(row.key.job.as_str())
    .bind(labels.values().map(|value| value.key.as_slice()).collect::<Vec<_>>())
    .bind(labels.values().map(|value| value.rest.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
