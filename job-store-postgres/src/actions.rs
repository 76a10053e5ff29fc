//! What clients do to jobs.

use std::collections::BTreeSet;

use async_trait::async_trait;
use job_core::query::Selection;
use job_core::recording::JobState;
use job_core::store::{Action, ActionOutcome, BulkOutcome};
use job_core::{Event, JobId, JobKey, PartitionId, Result, Timestamp, Transition};
use sqlx::PgConnection;

use crate::job_rows::{self, DamagedRow, JobRow, JobRows, Lock};
use crate::list;
use crate::removal::{self, Leaving};
use crate::step::{Form, Step, Trouble};
use crate::{dependents, outbox_rows, progress_writes};

pub(crate) struct Act<'a> {
    pub(crate) job: &'a JobKey,
    pub(crate) action: Action,
    pub(crate) now: Timestamp,
    /// Whether an earlier run got as far as its commit, which may have been carried out without our hearing of it.
    pub(crate) was_applied: bool,
}

#[async_trait]
impl Step for Act<'_> {
    type Output = ActionOutcome;
    const NAME: &'static str = "store::act";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<ActionOutcome, Trouble> {
        let keys = BTreeSet::from([self.job.clone()]);
        let jobs = job_rows::read(connection, &keys, Lock::InOrder).await?;
        let Acted { outcomes, damaged } = apply(connection, jobs, self.action, self.now).await?;
        if let Some(row) = damaged.into_iter().next() {
            return Err(row.error.into());
        }
        let outcome = outcomes.into_iter().next().unwrap_or(ActionOutcome::NotFound);
        if self.was_applied && self.action == Action::Delete && outcome == ActionOutcome::NotFound {
            return Ok(ActionOutcome::Applied);
        }
        self.was_applied = outcome == ActionOutcome::Applied;
        Ok(outcome)
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
        let mut jobs = job_rows::read(connection, &keys, Lock::InOrder).await?;
        // A job may have changed between the look and the lock; what it is now decides.
        let selected = list::still_selected(connection, self.partition, self.selection, &jobs).await?;
        jobs.rows.retain(|row| selected.contains(&row.job_no));
        jobs.damaged.retain(|row| selected.contains(&row.job_no));
        let acted = apply(connection, jobs, self.action, self.now).await?;
        Ok(BulkOutcome { changed: acted.passing_over_damaged(), next })
    }
}

/// What became of locked jobs.
#[derive(Debug, Default)]
pub(crate) struct Acted {
    /// One for each job that the action could be applied to.
    outcomes: Vec<ActionOutcome>,
    /// Jobs that make too little sense for it.
    damaged: Vec<DamagedRow>,
}

impl Acted {
    /// How many changed.
    pub(crate) fn passing_over_damaged(&self) -> u64 {
        self.damaged.iter().for_each(DamagedRow::passed_over);
        self.outcomes.iter().filter(|outcome| **outcome == ActionOutcome::Applied).count() as u64
    }
}

/// Applies `action` to locked jobs.
pub(crate) async fn apply(
    connection: &mut PgConnection,
    jobs: JobRows,
    action: Action,
    now: Timestamp,
) -> Result<Acted, Trouble> {
    let event: fn(&JobState) -> Event = match action {
        Action::Delete => return delete(connection, &jobs).await,
        Action::Redispatch => {
            let outcomes = redispatch(connection, &jobs.rows, now).await?;
            return Ok(Acted { outcomes, damaged: jobs.damaged });
        }
        Action::Cancel => |_| Event::Cancel,
        Action::Pause => |_| Event::Pause,
        Action::Resume => |state| Event::Resume { dispatched: state.is_dispatched() },
    };
    let JobRows { mut rows, damaged } = jobs;
    let outcomes = change(connection, &mut rows, event, now).await?;
    Ok(Acted { outcomes, damaged })
}

/// A job need not make sense to be removed.
async fn delete(connection: &mut PgConnection, jobs: &JobRows) -> Result<Acted, Trouble> {
    let readable = jobs.rows.iter().map(Leaving::from);
    let leaving: Vec<Leaving<'_>> = readable.chain(jobs.damaged.iter().map(Leaving::from)).collect();
    removal::remove(connection, &leaving).await?;
    Ok(Acted { outcomes: vec![ActionOutcome::Applied; leaving.len()], damaged: Vec::new() })
}

/// Lets `event` happen to locked jobs; one outcome each.
async fn change(
    connection: &mut PgConnection,
    rows: &mut [JobRow],
    event: fn(&JobState) -> Event,
    now: Timestamp,
) -> Result<Vec<ActionOutcome>, Trouble> {
    let outcome = |row: &mut JobRow| {
        let event = event(&row.state);
        match row.state.apply(event, now) {
            Transition::To(_) => ActionOutcome::Applied,
            Transition::Stay | Transition::Ignore => ActionOutcome::Unchanged,
            Transition::Refuse(refusal) => ActionOutcome::Refused(refusal),
        }
    };
    let outcomes: Vec<ActionOutcome> = rows.iter_mut().map(outcome).collect();
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
    progress_writes::remove_all(connection, &partitions, &emptied).await?;
    for row in rows.iter_mut().filter(|row| !row.state.status.keeps_progress()) {
        (row.progress, row.has_progress_rows) = (None, false);
    }
    Ok(())
}
