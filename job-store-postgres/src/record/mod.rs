//! Recording a batch of reports: one transaction, and a handful of statements however many jobs it is about.
//!
//! Mostly it need not go as far as this: see [`optimistic`], and [`recent`] for what even that need not read. Otherwise:
//!
//! 1. Lock the jobs and read them with their own progress records.
//! 2. Only if a report fails a task: find, and lock, everybody who waits for that job, transitively.
//! 3. Only for jobs with more progress than fits their own row: load the rows above the reported tasks, then those of the
//!    tasks themselves where there may be any.
//! 4. Let `job-core` decide, job by job, in the order of their first reports.
//! 5. Write what it said, one statement per table that has something to write.
//!
//! Dependents are locked out of order, so never with waiting: if one is taken, the step begins again and locks all of
//! them in order from the start.

mod decide;
mod load;
mod optimistic;
mod recent;
mod write;

pub(crate) use decide::{Decided, DecidedJob};
pub(crate) use load::LoadedJob;
use optimistic::Moved;
pub(crate) use optimistic::{Hope, RecordOptimistically};
pub(crate) use recent::RecentJobs;
pub(crate) use write::write;

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;
use job_core::progress::ReportEvent;
use job_core::store::{Recorded, TaskReport};
use job_core::{Clock, JobKey, Result, Timestamp};
use sqlx::PgConnection;
use tokio::sync::MutexGuard;

use crate::dependents::{self, Edges};
use crate::error;
use crate::job_rows::{self, JobRow, JobRows, Lock};
use crate::step::{Form, Step, Trouble};

pub(crate) struct Record<'a> {
    reports: &'a [TaskReport],
    now: Timestamp,
    /// The places of each job's reports, jobs in the order of their first report.
    groups: Vec<(&'a JobKey, Vec<usize>)>,
    /// What an earlier run found out that it must lock as well.
    also_lock: BTreeSet<JobKey>,
    /// Jobs of the batch that are there and cannot be read.
    damaged: Vec<(JobKey, String)>,
    /// There as long as it is worth trying without locking first.
    hope: Option<&'a Hope>,
    recent: &'a RecentJobs,
    /// Jobs as they were last written, until they are used: once, whatever comes of it.
    recalled: HashMap<JobKey, LoadedJob>,
}

/// What came of a batch.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) recorded: Recorded,
    /// Jobs as they are now, once this is committed; not necessarily all.
    pub(crate) written: Vec<LoadedJob>,
}

impl<'a> Record<'a> {
    pub(crate) fn new(reports: &'a [TaskReport], now: Timestamp, recent: &'a RecentJobs) -> Self {
        let (also_lock, damaged) = (BTreeSet::new(), Vec::new());
        let groups = by_job(reports);
        Self { reports, now, groups, also_lock, damaged, hope: None, recent, recalled: HashMap::new() }
    }

    fn keys(&self) -> impl Iterator<Item = &'a JobKey> {
        self.groups.iter().map(|(key, _)| *key)
    }

    /// Recalls the jobs of the batch. What is returned is to be held until they are kept again. Batches about several jobs
    /// take no turns: they would mostly wait for batches about others.
    pub(crate) async fn recall(&mut self, clock: &dyn Clock) -> Option<MutexGuard<'a, ()>> {
        let turn = match self.groups.as_slice() {
            [(key, _)] => self.recent.turn(key, clock).await,
            _ => None,
        };
        self.recalled = self.recent.take(self.keys(), clock.now());
        turn
    }

    /// Tries without locking first, if there is hope and the batch is about many jobs.
    pub(crate) fn with_hope(mut self, hope: &'a Hope) -> Self {
        let is_for_this = self.groups.len() > optimistic::FEW && !optimistic::does_more(self.reports);
        self.hope = (is_for_this && hope.is_there()).then_some(hope);
        self
    }

    /// `None` when nothing was written and the jobs are to be locked.
    async fn run_unlocked(&mut self, connection: &mut PgConnection) -> Result<Option<Outcome>, Trouble> {
        let Some(hope) = self.hope else { return Ok(None) };
        let recalled = std::mem::take(&mut self.recalled);
        if !recalled.is_empty()
            && let Some(mut moved) = Moved::read(connection, self, recalled).await?
            && let Some(writes) = moved.writes(self.now)?
        {
            if let Some(outcome) = moved.write_many(connection, writes, self.now).await? {
                hope.was_right();
                self.recent.were_right();
                return Ok(Some(outcome));
            }
            self.recent.were_wrong();
            return Err(Trouble::Again);
        }
        self.hope = None;
        if let Some(mut moved) = Moved::read(connection, self, HashMap::new()).await?
            && let Some(writes) = moved.writes(self.now)?
        {
            if let Some(outcome) = moved.write_many(connection, writes, self.now).await? {
                hope.was_right();
                return Ok(Some(outcome));
            }
            hope.was_wrong();
            return Err(Trouble::Again);
        }
        hope.was_wrong();
        Ok(None)
    }

    async fn lock(&mut self, connection: &mut PgConnection) -> Result<HashMap<JobKey, JobRow>, Trouble> {
        let mut keys = self.also_lock.clone();
        keys.extend(self.groups.iter().map(|(key, _)| (*key).clone()));
        let JobRows { rows, damaged } = job_rows::read(connection, &keys, Lock::InOrder).await?;
        self.damaged = damaged.into_iter().map(|row| (row.key, row.error.message().to_owned())).collect();
        Ok(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
    }

    /// Everybody who would fail with a job of this batch, all of them locked. Whoever begins to wait for a locked job
    /// must wait for its lock, so what is found with nothing new to lock is complete.
    async fn lock_dependents(
        &mut self,
        connection: &mut PgConnection,
        rows: &mut HashMap<JobKey, JobRow>,
    ) -> Result<Edges, Trouble> {
        let fails = |places: &[usize]| {
            places.iter().any(|place| matches!(self.reports[*place].event, ReportEvent::Failed(_)))
        };
        let roots: Vec<&JobKey> = self
            .groups
            .iter()
            .filter(|(key, places)| rows.contains_key(*key) && fails(places))
            .map(|(key, _)| *key)
            .collect();
        if roots.is_empty() {
            return Ok(Edges::default());
        }
        loop {
            let edges = dependents::closure(connection, roots.iter().copied()).await?;
            let fresh: BTreeSet<JobKey> =
                edges.all_dependents().filter(|key| !rows.contains_key(key)).collect();
            let locked = match job_rows::read(connection, &fresh, Lock::OutOfOrder).await {
                Err(Trouble::Database(cause)) if error::is_lock_not_available(&cause) => {
                    self.also_lock.extend(fresh);
                    return Err(Trouble::Again);
                }
                locked => locked?.readable(),
            };
            if locked.is_empty() {
                return Ok(edges);
            }
            rows.extend(locked.into_iter().map(|row| (row.key.clone(), row)));
        }
    }
}

#[async_trait]
impl Step for Record<'_> {
    type Output = Outcome;
    const NAME: &'static str = "store::record";
    const FORM: Form = Form::Transaction;

    async fn run(&mut self, connection: &mut PgConnection) -> Result<Outcome, Trouble> {
        if let Some(outcome) = self.run_unlocked(connection).await? {
            return Ok(outcome);
        }
        let mut rows = self.lock(connection).await?;
        let edges = self.lock_dependents(connection, &mut rows).await?;
        let jobs = load::load(connection, self, rows.into_values().collect(), HashMap::new())
            .await?
            .ok_or(Trouble::Again)?;
        let decided = decide::decide(self, jobs, &edges);
        let recorded = write(connection, decided, self.now).await?;
        Ok(Outcome { recorded, written: Vec::new() })
    }
}

fn by_job(reports: &[TaskReport]) -> Vec<(&JobKey, Vec<usize>)> {
    let mut groups: Vec<(&JobKey, Vec<usize>)> = Vec::new();
    let mut group_of: HashMap<&JobKey, usize> = HashMap::new();
    let mut current = 0;
    for (place, report) in reports.iter().enumerate() {
        // Reports of one job mostly come together.
        if groups.get(current).is_none_or(|(key, _)| **key != report.job) {
            current = *group_of.entry(&report.job).or_insert_with(|| {
                groups.push((&report.job, Vec::new()));
                groups.len() - 1
            });
        }
        groups[current].1.push(place);
    }
    groups
}
