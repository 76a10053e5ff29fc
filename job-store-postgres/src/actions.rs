//! What clients do to jobs.

use std::collections::BTreeSet;

use async_trait::async_trait;
use job_core::query::Selection;
use job_core::store::{Action, ActionOutcome, BulkOutcome};
use job_core::{Event, JobId, JobKey, PartitionId, Result, Timestamp, Transition};
use sqlx::PgConnection;

use crate::job_rows::{self, CountChanges, JobRow, Lock};
use crate::list;
use crate::step::{Form, Step, Trouble};
use crate::{dependents, outbox_rows, progress_rows, removal};

pub(crate) struct Act<'a> {
    pub(crate) job: &'a JobKey,
    pub(crate) action: Action,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Step for Act<'_> {
    type Output = ActionOutcome;
    const NAME: &'static str = "store::act";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<ActionOutcome, Trouble> {
        let keys = BTreeSet::from([self.job.clone()]);
        let mut rows = job_rows::lock(connection, &keys, Lock::InOrder).await?.whole()?;
        let outcomes = apply(connection, &mut rows, self.action, self.now).await?;
        Ok(outcomes.into_iter().next().unwrap_or(ActionOutcome::NotFound))
    }
}

pub(crate) struct ActOnSelected<'a> {
    pub(crate) partition: &'a PartitionId,
    pub(crate) selection: &'a Selection,
    pub(crate) action: Action,
    pub(crate) after: Option<&'a JobId>,
    pub(crate) limit: u32,
    pub(crate) now: Timestamp,
}

#[async_trait]
impl Step for ActOnSelected<'_> {
    type Output = BulkOutcome;
    const NAME: &'static str = "store::act_on_selected";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<BulkOutcome, Trouble> {
        let limit = self.limit.max(1) as usize;
        let mut ids =
            list::ids_behind(connection, self.partition, self.selection, self.after, limit + 1).await?;
        let is_last = ids.len() <= limit;
        ids.truncate(limit);
        let next = if is_last { None } else { ids.last().cloned() };
        let keys: BTreeSet<JobKey> =
            ids.into_iter().map(|id| JobKey::new(self.partition.clone(), id)).collect();
        let locked = job_rows::lock(connection, &keys, Lock::InOrder).await?.readable();
        // A job may have changed between the look and the lock; what it is now decides.
        let selected = list::still_selected(connection, self.partition, self.selection, &locked).await?;
        let mut rows: Vec<JobRow> = locked.into_iter().filter(|row| selected.contains(&row.job_no)).collect();
        let outcomes = apply(connection, &mut rows, self.action, self.now).await?;
        let changed = outcomes.iter().filter(|outcome| **outcome == ActionOutcome::Applied).count();
        Ok(BulkOutcome { changed: changed as u64, next })
    }
}

/// Applies `action` to locked jobs; one outcome each.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    rows: &mut [JobRow],
    action: Action,
    now: Timestamp,
) -> Result<Vec<ActionOutcome>, Trouble> {
    if action == Action::Delete {
        let mut counts = CountChanges::default();
        let rows: Vec<&JobRow> = rows.iter().collect();
        removal::remove(connection, &rows, &mut counts).await?;
        counts.write(connection).await?;
        return Ok(vec![ActionOutcome::Applied; rows.len()]);
    }
    if action == Action::Redispatch {
        return redispatch(connection, rows, now).await;
    }
    let outcomes: Vec<ActionOutcome> = rows.iter_mut().map(|row| transition(row, action, now)).collect();
    let mut changed: Vec<&mut JobRow> = rows
        .iter_mut()
        .zip(&outcomes)
        .filter_map(|(row, outcome)| (*outcome == ActionOutcome::Applied).then_some(row))
        .collect();
    follow_status(connection, &mut changed).await?;
    let changed: Vec<&JobRow> = changed.into_iter().map(|row| &*row).collect();
    job_rows::write(connection, &changed).await?;
    Ok(outcomes)
}

/// Puts the first messages of locked jobs back into the outbox where that makes sense; one outcome each.
async fn redispatch(
    connection: &mut PgConnection,
    rows: &[JobRow],
    now: Timestamp,
) -> Result<Vec<ActionOutcome>, Trouble> {
    let mut partitions: Vec<&str> = rows.iter().map(|row| row.key.partition.as_str()).collect();
    partitions.dedup();
    let numbers: Vec<i64> = rows.iter().map(|row| row.job_no).collect();
    let stored = outbox_rows::first_messages(connection, &partitions, &numbers).await?;
    let (mut outcomes, mut lost) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let (in_outbox, is_kept) = stored.get(&row.job_no).copied().unwrap_or_default();
        outcomes.push(match row.state.redispatch(in_outbox, is_kept) {
            Transition::To(_) | Transition::Stay => {
                lost.push(row);
                ActionOutcome::Applied
            }
            Transition::Ignore => ActionOutcome::Unchanged,
            Transition::Refuse(refusal) => ActionOutcome::Refused(refusal),
        });
    }
    outbox_rows::put_back(connection, &lost, now).await?;
    Ok(outcomes)
}

fn transition(row: &mut JobRow, action: Action, now: Timestamp) -> ActionOutcome {
    let event = match action {
        Action::Cancel | Action::Delete | Action::Redispatch => Event::Cancel,
        Action::Pause => Event::Pause,
        Action::Resume => Event::Resume { dispatched: row.state.is_dispatched() },
    };
    match row.state.apply(event, now) {
        Transition::To(_) => ActionOutcome::Applied,
        Transition::Stay | Transition::Ignore => ActionOutcome::Unchanged,
        Transition::Refuse(refusal) => ActionOutcome::Refused(refusal),
    }
}

/// Makes what belongs to jobs follow their new status.
async fn follow_status(connection: &mut PgConnection, rows: &mut [&mut JobRow]) -> Result<(), Trouble> {
    let mut partitions: Vec<String> = rows.iter().map(|row| row.key.partition.as_str().to_owned()).collect();
    partitions.dedup();
    let partitions: Vec<&str> = partitions.iter().map(String::as_str).collect();
    let numbers = |wanted: &dyn Fn(&JobRow) -> bool| -> Vec<i64> {
        rows.iter().filter(|row| wanted(row)).map(|row| row.job_no).collect()
    };
    let waiting = numbers(&|row| row.state.status.is_finished() && row.has_prerequisites);
    let finished: Vec<&JobRow> =
        rows.iter().filter(|row| row.state.status.is_finished()).map(|row| &**row).collect();
    let holding = |holds: bool| {
        numbers(&|row| !row.state.status.is_finished() && row.state.status.holds_messages() == holds)
    };
    let (held, free) = (holding(true), holding(false));
    let emptied = numbers(&|row| !row.state.status.keeps_progress() && row.has_progress_rows);
    dependents::forget_prerequisites(connection, &partitions, &waiting).await?;
    outbox_rows::finish(connection, &partitions, &finished).await?;
    outbox_rows::hold(connection, &partitions, &held, true).await?;
    outbox_rows::hold(connection, &partitions, &free, false).await?;
    progress_rows::remove_all(connection, &partitions, &emptied).await?;
    for row in rows.iter_mut().filter(|row| !row.state.status.keeps_progress()) {
        (row.progress, row.has_progress_rows) = (None, false);
    }
    Ok(())
}
