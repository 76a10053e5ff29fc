//! The store: each method is a step.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use job_core::progress::TaskProgress;
use job_core::query::{JobPage, JobQuery, Selection};
use job_core::store::{
    self, Action, ActionOutcome, BulkOutcome, ClaimRequest, Claimed, CreateOutcome, Drift, JobStore,
    LeaseOwner, Overview, PruneRequest, Recorded, RedispatchStep, Settled, StowOutcome, StowedMessage,
    Suspension, TaskReport, VerifyRequest,
};
use job_core::{
    AcceptedJob, Clock, Failure, Job, JobId, JobKey, JobStatus, PartitionId, Result, TaskPath, Timestamp,
};
use sqlx::Connection;

use crate::actions::{Act, ActOnSelected};
use crate::claim::{Claim, Turn};
use crate::connections::Connections;
use crate::create;
use crate::dependents::Dependents;
use crate::failures::Failures;
use crate::leases::Leases;
use crate::list::{Count, List};
use crate::migrations::{self, SchemaState};
use crate::numbers::Numbers;
use crate::options::PostgresOptions;
use crate::overview::Glance;
use crate::prune::Prune;
use crate::read::{Get, Statuses};
use crate::record::{Hope, RecentJobs, Record, RecordOptimistically};
use crate::redispatch::Redispatch;
use crate::settle::Settle;
use crate::step::{Form, Runner, Step, Trouble};
use crate::stow::Stow;
use crate::suspension::{Suspend, SuspendedPartitions};
use crate::tasks::Tasks;
use crate::{connect, error, verify};

/// Whether batches about a few jobs, and about many, are worth recording without locking first.
#[derive(Debug, Default)]
struct Hopes {
    of_few: Hope,
    of_many: Hope,
}

/// A store of jobs in a PostgreSQL database.
pub struct PostgresStore {
    connections: Arc<Connections>,
    clock: Arc<dyn Clock>,
    options: PostgresOptions,
    numbers: Numbers,
    turn: Turn,
    hopes: Hopes,
    recent: RecentJobs,
    leases: Leases,
}

impl PostgresStore {
    /// Connects to a database. `clock` is asked only how long a call has been trying.
    ///
    /// # Errors
    /// When the database cannot be reached, refuses the login, or is not one that this store can work with.
    pub async fn connect(options: PostgresOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let store = Self::lazy(options, clock);
        // Directly, and not from the pool: a pool goes on trying, and then says only that it took too long.
        let mut connection = store.open().await?;
        connect::check_server(&mut connection).await?;
        // The answer to a farewell is of no interest.
        let _ = connection.close().await;
        Ok(store)
    }

    /// A store that connects when it is first used, and so may be made while the database is away.
    #[must_use]
    pub fn lazy(options: PostgresOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            connections: Arc::new(Connections::new(&options, Arc::clone(&clock))),
            clock,
            recent: RecentJobs::new(options.recent_bytes),
            options,
            numbers: Numbers::default(),
            turn: Turn::default(),
            hopes: Hopes::default(),
            leases: Leases::default(),
        }
    }

    async fn open(&self) -> Result<sqlx::PgConnection> {
        let connect = sqlx::PgConnection::connect_with(&self.connections.pool().connect_options()).await;
        connect.map_err(|cause| error::from_database(cause).with_operation("store::connect"))
    }

    /// Brings the schema up to date and returns the versions that were applied. Needs the right to create tables; several
    /// processes may do it at the same time.
    ///
    /// # Errors
    /// When the schema is newer than this program, differs from it, or cannot be changed.
    pub async fn migrate(&self) -> Result<Vec<i32>> {
        let applied = self.runner().run(Migrate).await?;
        self.validate().await?;
        Ok(applied)
    }

    /// Checks that the schema is the one that this program was written for.
    ///
    /// # Errors
    /// [`Unsupported`](job_core::ErrorKind::Unsupported), with the versions, when it is not.
    pub async fn validate(&self) -> Result<()> {
        migrations::insist(self.schema().await?)
    }

    /// How the schema of the database stands to the one that this program was written for.
    ///
    /// # Errors
    /// Transient when the database cannot be reached.
    pub async fn schema(&self) -> Result<SchemaState> {
        self.runner().run(Schema).await
    }

    /// What time it is on the database's machine: the store itself never asks.
    ///
    /// # Errors
    /// Transient when the database cannot be reached.
    pub async fn clock(&self) -> Result<Timestamp> {
        self.runner().run(ClockThere).await
    }

    /// Closes all connections, once what they do is done. Later calls fail.
    pub async fn close(&self) {
        self.connections.close().await;
    }

    fn runner(&self) -> Runner<'_> {
        Runner {
            connections: &self.connections,
            clock: &self.clock,
            retry_limit: self.options.retry_limit,
            statement_timeout: self.options.statement_timeout,
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("options", &self.options).finish_non_exhaustive()
    }
}

struct Migrate;

#[async_trait]
impl Step for Migrate {
    type Output = Vec<i32>;
    const NAME: &'static str = "store::migrate";
    const FORM: Form = Form::Transaction;
    const IS_LONG: bool = true;

    async fn run(&mut self, connection: &mut sqlx::PgConnection) -> Result<Vec<i32>, Trouble> {
        Ok(migrations::migrate(connection).await?)
    }
}

struct Schema;

#[async_trait]
impl Step for Schema {
    type Output = SchemaState;
    const NAME: &'static str = "store::schema";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut sqlx::PgConnection) -> Result<SchemaState, Trouble> {
        connect::check_server(connection).await?;
        Ok(migrations::state(connection).await?)
    }
}

struct ClockThere;

#[async_trait]
impl Step for ClockThere {
    type Output = Timestamp;
    const NAME: &'static str = "store::clock";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut sqlx::PgConnection) -> Result<Timestamp, Trouble> {
        let millis: i64 = sqlx::query_scalar("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            .fetch_one(connection)
            .await?;
        Ok(Timestamp::from_millis(millis))
    }
}

struct Ping;

#[async_trait]
impl Step for Ping {
    type Output = ();
    const NAME: &'static str = "store::ping";
    const FORM: Form = Form::Statement;

    async fn run(&mut self, connection: &mut sqlx::PgConnection) -> Result<(), Trouble> {
        sqlx::query("SELECT 1").execute(connection).await?;
        Ok(())
    }
}

#[async_trait]
impl JobStore for PostgresStore {
    async fn create(&self, jobs: Vec<AcceptedJob>, now: Timestamp) -> Result<Vec<CreateOutcome>> {
        create::create(&self.runner(), &self.numbers, jobs, now).await
    }

    async fn get(&self, keys: &[JobKey]) -> Result<Vec<Option<Job>>> {
        self.runner().run(Get(keys)).await
    }

    async fn statuses(&self, keys: &[JobKey]) -> Result<Vec<Option<JobStatus>>> {
        self.runner().run(Statuses(keys)).await
    }

    async fn list(&self, query: &JobQuery) -> Result<JobPage> {
        self.runner().run(List { query, effort: self.options.listing }).await
    }

    async fn count(
        &self,
        partition: &PartitionId,
        selection: &Selection,
    ) -> Result<BTreeMap<JobStatus, u64>> {
        self.runner().run(Count { partition, selection }).await
    }

    async fn act(&self, job: &JobKey, action: Action, now: Timestamp) -> Result<ActionOutcome> {
        self.runner().run(Act { job, action, now, was_applied: false }).await
    }

    async fn act_on_selected(
        &self,
        partition: &PartitionId,
        selection: &Selection,
        action: Action,
        after: Option<&JobId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<BulkOutcome> {
        self.runner().run(ActOnSelected { partition, selection, action, after, limit, now }).await
    }

    async fn redispatch(&self, after: Option<&JobKey>, limit: u32, now: Timestamp) -> Result<RedispatchStep> {
        self.runner().run(Redispatch { after, limit, now }).await
    }

    async fn record(&self, reports: &[TaskReport], now: Timestamp) -> Result<Recorded> {
        if reports.is_empty() {
            return Ok(Recorded::default());
        }
        let runner = self.runner();
        let mut record = Record::new(reports, now, &self.recent);
        let turn = record.recall(self.clock.as_ref()).await;
        let unlocked = match RecordOptimistically::new(&mut record, &self.hopes.of_few) {
            Some(step) => runner.run(step).await?,
            None => None,
        };
        let outcome = match unlocked {
            Some(outcome) => outcome,
            None => runner.run(record.with_hope(&self.hopes.of_many)).await?,
        };
        // Only now is it certain to be committed.
        self.recent.keep(outcome.written, self.clock.now());
        drop(turn);
        Ok(outcome.recorded)
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed> {
        let claimed = self.runner().run(Claim::new(request, &self.turn)).await?;
        self.leases.add(&claimed.entries);
        Ok(claimed)
    }

    async fn settle(
        &self,
        owner: LeaseOwner,
        entries: Vec<(u64, Settled)>,
        now: Timestamp,
    ) -> Result<Vec<bool>> {
        let jobs = self.leases.take(&entries);
        self.runner().run(Settle::new(owner, &entries, &jobs, now)).await
    }

    async fn stow(&self, messages: Vec<StowedMessage>, now: Timestamp) -> Result<Vec<StowOutcome>> {
        let runner = self.runner();
        let numbers = self.numbers.take(&runner, messages.len()).await?;
        runner.run(Stow { messages: &messages, numbers: &numbers, now }).await
    }

    async fn tasks(
        &self,
        job: &JobKey,
        parent: &TaskPath,
        after: u32,
        limit: u32,
    ) -> Result<Option<Vec<TaskProgress>>> {
        self.runner().run(Tasks { job, parent, after, limit }).await
    }

    async fn failures(&self, job: &JobKey, after: u64, limit: u32) -> Result<Vec<(u64, TaskPath, Failure)>> {
        self.runner().run(Failures { job, after, limit }).await
    }

    async fn dependents(
        &self,
        partition: &PartitionId,
        prerequisites: &[JobId],
        limit: u32,
    ) -> Result<Vec<Vec<JobId>>> {
        self.runner().run(Dependents { partition, prerequisites, limit }).await
    }

    async fn suspend(&self, partition: &PartitionId, suspension: Suspension) -> Result<()> {
        self.runner().run(Suspend { partition, suspension }).await
    }

    async fn suspended_partitions(
        &self,
        after: Option<&PartitionId>,
        limit: u32,
    ) -> Result<Vec<PartitionId>> {
        self.runner().run(SuspendedPartitions { after, limit }).await
    }

    async fn prune(&self, request: &PruneRequest) -> Result<u64> {
        self.runner().run(Prune(request)).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Vec<Drift>> {
        verify::verify(&self.runner(), request).await
    }

    async fn overview(&self, now: Timestamp) -> Result<Overview> {
        let mut overview = self.runner().run(Glance { now }).await?;
        let (size, idle) = self.connections.counts();
        overview.connections =
            Some(store::Connections { used: size - idle, idle, max: self.options.pool_size });
        Ok(overview)
    }

    /// One attempt, so that trouble is seen while other calls still hope.
    async fn ping(&self) -> Result<()> {
        let once = Runner { retry_limit: std::time::Duration::ZERO, ..self.runner() };
        once.run(Ping).await
    }
}
