//! One campaign's database, queues, server, workers and clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hyper::Method;
use job_conformance::store::seeded::Seeded;
use job_core::queue::TaskQueue;
use job_core::{Clock as _, JobKey, PartitionId, Shutdown, SystemClock, Timestamp};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use job_store_postgres::{PostgresOptions, PostgresStore};
use testkit::{PostgresServer, TestDatabase};
use tokio::sync::watch;

use crate::clients::{Client, Mix};
use crate::http::call;
use crate::ledger::{Answer, Entry, Ledger, Work};
use crate::process::Process;
use crate::recovery::until;
use crate::worker_process::WorkerProcess;
use crate::workers::Worker;

/// How long something that should come back may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const WORKERS: usize = 2;
/// Of the workers: shorter than usual, so that a test does not wait for them.
const IDLE_LIMIT: Duration = Duration::from_secs(2);
/// What the names of a campaign's queues end in: that of its tasks, of their reports, and of the tasks of paused jobs.
pub(crate) const QUEUES: [&str; 3] = ["in", "tracking", "paused"];

/// What a campaign needs.
#[derive(Debug)]
pub(crate) struct Rig {
    pub(crate) name: String,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) store: PostgresStore,
    pub(crate) partitions: Vec<PartitionId>,
    /// The address of the server, for whoever calls it.
    pub(crate) server: watch::Sender<SocketAddr>,
    queue: Arc<dyn TaskQueue>,
    database: TestDatabase,
    pub(crate) postgres: Arc<PostgresServer>,
    broker: String,
    workers: Shutdown,
    clients: Shutdown,
    probes: AtomicU32,
}

/// How long a server took to work again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recovery {
    /// Until a job was accepted.
    pub(crate) accepted: Duration,
    /// Until a worker had the first message of that job.
    pub(crate) dispatched: Duration,
}

impl Rig {
    /// A database and queues of its own, with workers that wait.
    pub(crate) async fn new(postgres: &Arc<PostgresServer>, broker: &str) -> Self {
        let rig = Self::without_workers(postgres, broker).await;
        for _ in 0..WORKERS {
            let (queue, input) = (Arc::clone(&rig.queue), rig.input());
            let worker = Worker { queue, input, diary: Arc::clone(&rig.ledger) as _ };
            rig.workers.spawn(worker.run(rig.workers.clone()));
        }
        rig
    }

    /// The same with nobody who works.
    pub(crate) async fn without_workers(postgres: &Arc<PostgresServer>, broker: &str) -> Self {
        static RIGS: AtomicU32 = AtomicU32::new(0);
        let name = format!("campaign-{}-{}", std::process::id(), RIGS.fetch_add(1, Ordering::Relaxed));
        let migrate =
            async |url: &str| -> job_core::Result<()> { store(url).await?.migrate().await.map(drop) };
        let database = TestDatabase::create_on(&postgres.url("postgres"), "campaign", migrate).await.unwrap();
        let options = AmqpOptions::from_uri(broker).unwrap().with_idle_limit(IDLE_LIMIT);
        let queue: Arc<dyn TaskQueue> = Arc::new(AmqpQueue::connect(options).await.unwrap());
        for queue_name in QUEUES {
            queue.declare(&format!("{name}-{queue_name}")).await.unwrap();
        }
        Self {
            store: store(database.url()).await.unwrap(),
            ledger: Arc::default(),
            partitions: vec![PartitionId::new("probes").unwrap()],
            server: watch::Sender::new(([127, 0, 0, 1], 1).into()),
            queue,
            database,
            postgres: Arc::clone(postgres),
            broker: broker.to_owned(),
            workers: Shutdown::new(),
            clients: Shutdown::new(),
            probes: AtomicU32::new(0),
            name,
        }
    }

    pub(crate) fn database_url(&self) -> String {
        // The wire is read by the tripwire, and this server has no certificate anyhow.
        format!("{}?sslmode=disable", self.database.url())
    }

    pub(crate) fn database_name(&self) -> &str {
        self.database.name()
    }

    pub(crate) fn broker_url(&self) -> &str {
        &self.broker
    }

    /// The queue of the workers.
    pub(crate) fn input(&self) -> String {
        format!("{}-in", self.name)
    }

    /// Starts a server on the database and the broker.
    pub(crate) async fn start(&self) -> Process {
        self.start_over(self.database_url(), self.broker.clone()).await
    }

    /// Starts a server that reaches them by these addresses.
    pub(crate) async fn start_over(&self, database: String, broker: String) -> Process {
        let process = Process::start(&self.settings(database, broker)).await;
        self.server.send_replace(process.address());
        process
    }

    /// Starts a server, or a part of one, with more settings; clients turn to it when it serves the API.
    pub(crate) async fn start_with(&self, more: &[(&'static str, &str)]) -> Process {
        let mut settings = self.settings(self.database_url(), self.broker.clone()).to_vec();
        settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let process = Process::start(&settings).await;
        if process.serves_api() {
            self.server.send_replace(process.address());
        }
        process
    }

    /// Starts a worker in a process of its own.
    pub(crate) fn start_worker(&self) -> WorkerProcess {
        WorkerProcess::start(&self.broker, &self.input(), &self.ledger)
    }

    fn settings(&self, database: String, broker: String) -> [(&'static str, String); 4] {
        let name = &self.name;
        [
            ("JOB_SERVICE_STORE", database),
            ("JOB_SERVICE_QUEUE", broker),
            ("CAF_TRACKING_PIPE", format!("{name}-tracking")),
            ("CAF_WORKER_PAUSED_QUEUE", format!("{name}-paused")),
        ]
    }

    /// Lets clients work.
    pub(crate) fn load(&mut self, clients: u32, pace: Duration, mix: Mix, seed: u64) {
        for number in 0..clients {
            let partition = format!("client-{number}");
            self.partitions.push(PartitionId::new(&partition).unwrap());
            let client = Client {
                server: self.server.subscribe(),
                ledger: Arc::clone(&self.ledger),
                partition,
                input: self.input(),
                mix,
                pace,
                random: Seeded::new(seed.wrapping_mul(1_000).wrapping_add(number.into())),
                known: Vec::new(),
                paused: Vec::new(),
                jobs: 0,
            };
            self.clients.spawn(client.run(self.clients.clone()));
        }
    }

    /// Waits until the server has accepted a job, and a worker got it; says how long after `begin` that was.
    pub(crate) async fn recovered(&self, begin: Timestamp) -> Recovery {
        let (key, accepted) = self.probe().await;
        let Some(received) = self.received(&key, PATIENCE).await else {
            panic!("{}", self.undispatched(&key).await)
        };
        Recovery { accepted: accepted.since(begin), dispatched: received.since(begin) }
    }

    /// The same where messages may be lost: with one job after the other.
    pub(crate) async fn recovered_with_losses(&self, begin: Timestamp) -> Duration {
        const TRIED: Duration = Duration::from_secs(3);
        let received = until(PATIENCE, async || {
            let (key, _) = self.probe().await;
            self.received(&key, TRIED).await
        });
        received.await.expect("the server dispatches again").since(begin)
    }

    /// A job that was accepted, and when.
    async fn probe(&self) -> (JobKey, Timestamp) {
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        let key = JobKey::parse("probes", format!("probe-{number}")).unwrap();
        let work = Work { width: 0, depth: 0, fails: false };
        let entry = Entry {
            work,
            prerequisites: vec![],
            created: Answer::Unknown,
            cancelled: None,
            deleted: None,
            paused: false,
        };
        self.ledger.begin(key.clone(), entry);
        let body = serde_json::json!({ "task": {
            "taskClassifier": "Campaign", "taskApiVersion": 1, "taskPipe": self.input(),
            "taskData": serde_json::to_string(&work).unwrap(),
        }})
        .to_string();
        let path = format!("/job-service/v1/partitions/probes/jobs/probe-{number}");
        let accepted = until(PATIENCE, async || {
            let address = *self.server.borrow();
            let reply = call(address, Method::PUT, &path, body.clone()).await?;
            matches!(reply.status, 201 | 204).then(|| SystemClock::new().now())
        });
        let accepted = accepted.await.expect("the server accepts jobs again");
        self.ledger.write(&key, |entry| entry.created = Answer::Ok);
        (key, accepted)
    }

    /// When a worker got the first message of a job, if it does within `limit`.
    async fn received(&self, key: &JobKey, limit: Duration) -> Option<Timestamp> {
        until(limit, async || self.ledger.was_received(key).then(|| SystemClock::new().now())).await
    }

    /// What there is to know about a job that no worker got.
    async fn undispatched(&self, key: &JobKey) -> String {
        let probes = "SELECT now(), job.job_id, job.status, o.due_at, o.parked_until, o.attempts, o.reason
                      FROM job LEFT JOIN outbox o ON o.id = job.job_no WHERE job.partition_id = 'probes'"
            .to_owned();
        let sessions = "SELECT pid, state, wait_event, now() - state_change, query FROM pg_stat_activity
                        WHERE datname = current_database()"
            .to_owned();
        let (probes, sessions) = (self.sql(probes).await, self.sql(sessions).await);
        format!(
            "the server does not dispatch {key}: the probes are {probes:#?}, the sessions are {sessions:#?}"
        )
    }

    /// Waits until the clients have got `jobs` more jobs accepted.
    pub(crate) async fn accepted_more(&self, jobs: usize) {
        let before = self.ledger.totals().accepted;
        let more = until(PATIENCE, async || (self.ledger.totals().accepted >= before + jobs).then_some(()));
        more.await.expect("the clients get on");
    }

    /// The clients finish what they have begun.
    pub(crate) async fn stop_load(&self) {
        assert!(self.clients.drain(&SystemClock::new(), PATIENCE).await, "a client hangs");
    }

    /// Runs SQL in the campaign's database.
    pub(crate) async fn sql(&self, sql: String) -> anyhow::Result<String> {
        let (postgres, name) = (Arc::clone(&self.postgres), self.database.name().to_owned());
        Shutdown::new().spawn_blocking(move || postgres.sql(&name, &sql)).await.unwrap()
    }

    /// Ends the workers and their connections.
    pub(crate) async fn close(self) {
        assert!(self.workers.drain(&SystemClock::new(), PATIENCE).await, "a worker hangs");
        self.queue.close().await;
    }
}

async fn store(url: &str) -> job_core::Result<PostgresStore> {
    // The driver only looks: it may wait longer than a server would.
    let options = PostgresOptions::new(url)?.with_pool_size(2).with_retry_limit(Duration::from_secs(60));
    PostgresStore::connect(options, Arc::new(SystemClock::new())).await
}
