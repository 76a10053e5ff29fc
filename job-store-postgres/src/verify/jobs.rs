//! Checking jobs one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use job_core::dependency::due;
use job_core::progress::Percentage;
use job_core::recording::JobState;
use job_core::store::{Drift, Recorded};
use job_core::{Event, JobKey, JobStatus, PartitionId, Result, TaskPath, Timestamp};
use sqlx::PgConnection;

use super::Report;
use super::facts::{self, Facts, StartEntry};
use crate::failures::FailureChanges;
use crate::job_rows::{self, JobRow, Lock, percentage_group, update_group};
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

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Vec<Drift>, Trouble> {
        let keys: BTreeSet<JobKey> = self.keys.iter().cloned().collect();
        let rows = job_rows::lock(connection, &keys, Lock::InOrder).await?;
        let facts = facts::read(connection, self.partition, &rows).await?;
        let mut report = Report { drifts: Vec::new(), repair: self.repair };
        let mut changed: HashMap<JobKey, DecidedJob> = HashMap::new();
        let mut recorded = Recorded::default();
        let mut failures = FailureChanges::default();
        let mut now = Timestamp::default();
        for row in rows {
            let Some(facts) = facts.get(&row.job_no) else { continue };
            follow_up(connection, &row, facts, &mut report).await?;
            let Some(mut job) = progress(connection, row, facts, &mut report).await? else { continue };
            let row = &mut job.job.row;
            if row.state.status == JobStatus::Completed && row.before.status != row.state.status {
                failures.end(row, &TaskPath::root());
                recorded.completed.push(row.key.clone());
                now = now.max(row.state.last_update_time);
            }
            changed.insert(row.key.clone(), job);
        }
        write(connection, Decided { recorded, jobs: changed, failures }, now).await?;
        Ok(report.drifts)
    }
}

/// The tree in itself, and what the job shows of it; returns the job when it is to be written.
async fn progress(
    connection: &mut PgConnection,
    mut row: JobRow,
    facts: &Facts,
    report: &mut Report,
) -> Result<Option<DecidedJob>, Trouble> {
    let key = row.key.clone();
    let mut is_changed = own_columns(&mut row, facts, report);
    let mut dropped = Vec::new();
    let loaded = if row.state.status.keeps_progress() {
        progress_rows::load_all(connection, &row).await?
    } else {
        if (row.progress.is_some() || facts.has_progress_rows)
            && report.note(&key, "progress", "kept", "dropped")
        {
            dropped.push(TaskPath::root());
            is_changed = true;
        }
        Ok(LoadedTree::default())
    };
    let mut progress = match loaded {
        Ok(progress) => progress,
        Err(Broken(reason)) => {
            // What is damaged cannot be repaired from anything else.
            report.note(&key, "progress", reason, "readable");
            return Ok(None);
        }
    };
    if row.state.status.keeps_progress() {
        is_changed |= shown(&mut row, &mut progress, report);
    }
    let job = LoadedJob { row, progress, broken: None };
    Ok((is_changed && report.repair).then_some(DecidedJob { job, is_changed: true, dropped }))
}

/// Columns that are derived from others.
fn own_columns(row: &mut JobRow, facts: &Facts, report: &mut Report) -> bool {
    let key = row.key.clone();
    let hundredths = row.state.percentage.hundredths();
    let mut changed = report.compare(&key, "shown percentage", &facts.hundredths, &(hundredths as i16));
    changed |=
        report.compare(&key, "percentage group", &facts.percentage_group, &percentage_group(hundredths));
    changed |=
        report.compare(&key, "update group", &facts.update_group, &update_group(row.state.last_update_time));
    if report.compare(&key, "failure count", &row.failure_count, &facts.failures) {
        row.failure_count = facts.failures;
        row.needs_whole_write = true;
        changed = true;
    }
    if row.last_failure < facts.last_failure
        && report.note(&key, "last failure", row.last_failure, facts.last_failure)
    {
        row.last_failure = facts.last_failure;
        row.needs_whole_write = true;
        changed = true;
    }
    if facts.has_progress_rows
        && !row.has_progress_rows
        && report.note(&key, "rows of progress", "unknown", "known")
    {
        row.has_progress_rows = true;
        changed = true;
    }
    if facts.edges > 0 && !row.has_prerequisites && report.note(&key, "prerequisites", "unknown", "known") {
        row.has_prerequisites = true;
        row.needs_whole_write = true;
        changed = true;
    }
    changed
}

fn shown(row: &mut JobRow, progress: &mut LoadedTree, report: &mut Report) -> bool {
    let key = row.key.clone();
    let mut changed = false;
    if row.progress.is_none() {
        if row.state.percentage != Percentage::ZERO
            && report.note(&key, "percentage", row.state.percentage, Percentage::ZERO)
        {
            row.state.percentage = Percentage::ZERO;
            changed = true;
        }
        return changed;
    }
    let before = report.drifts.len();
    progress.tree.recount(|task, what, stored, counted| {
        report.note_task(&key, task, what, stored, counted);
    });
    changed |= report.drifts.len() > before;
    if report.compare(&key, "percentage", &row.state.percentage, &progress.tree.percentage()) {
        row.state.percentage = progress.tree.percentage();
        changed = true;
    }
    if report.compare(&key, "subtasks", &row.state.subtasks, &progress.tree.counts()) {
        row.state.subtasks = progress.tree.counts();
        changed = true;
    }
    if progress.tree.is_complete() && report.note(&key, "status", row.state.status, JobStatus::Completed) {
        let JobState { last_update_time, .. } = row.state;
        row.state.apply(Event::AllCompleted, last_update_time);
        row.state.percentage = Percentage::FULL;
        changed = true;
    }
    changed
}

/// Invariants 4 and 5: who the job waits for, and what of it waits to be published.
async fn follow_up(
    connection: &mut PgConnection,
    row: &JobRow,
    facts: &Facts,
    report: &mut Report,
) -> Result<(), Trouble> {
    let key = &row.key;
    let partition = [key.partition.as_str()];
    let number = [row.job_no];
    match &facts.labels {
        None => {
            report.note(key, "details", "missing", "stored");
        }
        Some(labels) if *labels != facts.indexed_labels => {
            if report.note(key, "labels", facts.indexed_labels.keys(), labels.keys()) {
                index_labels(connection, row, labels).await?;
            }
        }
        Some(_) => {}
    }
    if row.state.status.is_finished() {
        if facts.edges > 0 && report.note(key, "prerequisites", facts.edges, "none of a finished job") {
            dependents::forget_prerequisites(connection, &partition, &number).await?;
        }
        let entries = facts.stowed + i64::from(facts.start.is_some());
        if entries > 0 && report.note(key, "outbox entries", entries, "none of a finished job") {
            outbox_rows::remove(connection, &partition, &number).await?;
        }
        return Ok(());
    }
    let held = row.state.status.holds_messages();
    let expected_held = if held { facts.stowed } else { 0 };
    let start_is_wrong = facts.start.is_some_and(|start| start.held != held);
    if (start_is_wrong || facts.stowed_and_held != expected_held) && report.note(key, "held", !held, held) {
        outbox_rows::hold(connection, &partition, &number, held).await?;
    }
    match facts.start {
        Some(start) => entry(connection, row, start, facts.edges, report).await?,
        // The message itself went with the entry, so there is nothing to repair it from.
        None if !row.state.is_dispatched() => {
            report.note(key, "first message", "missing", "in the outbox");
        }
        None => {}
    }
    Ok(())
}

async fn entry(
    connection: &mut PgConnection,
    row: &JobRow,
    start: StartEntry,
    edges: i64,
    report: &mut Report,
) -> Result<(), Trouble> {
    let unmet = i32::try_from(edges).unwrap_or(i32::MAX);
    let delay = Duration::from_millis(start.delay_millis.unsigned_abs());
    let expected = due(unmet as usize, delay, row.create_time);
    let mut wrong = report.compare(&row.key, "unmet prerequisites", &start.unmet, &unmet);
    if start.due.is_some() != expected.is_some() {
        wrong |= report.note(&row.key, "due", start.due, expected);
    }
    if wrong {
        let due = if expected.is_some() { start.due.or(expected) } else { None };
        sqlx::query("UPDATE outbox SET unmet = $2, due_at = $3 WHERE id = $1")
            .bind(row.job_no)
            .bind(unmet)
            .bind(due.map(Timestamp::as_millis))
            .execute(connection)
            .await?;
    }
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
