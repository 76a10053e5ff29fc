//! What the flows run on: everything in the process, or PostgreSQL and RabbitMQ.

use std::sync::Arc;
use std::time::Duration;

use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::stower::StowerSettings;
use job_core::tracker::TrackerSettings;
use job_core::{EngineSettings, IdSource as _, RandomIds, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use job_store_postgres::{PostgresOptions, PostgresStore, migrations};
use testkit::{TestDatabase, template_name};

/// A store and queues that no other test uses.
#[derive(Debug)]
pub struct Backends {
    /// Begins the names of all queues.
    prefix: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Memory { store: Arc<MemoryStore>, queue: MemoryQueue },
    Services { database: TestDatabase, broker: &'static str },
}

impl Backends {
    /// All in this process.
    #[must_use]
    pub fn memory() -> Self {
        let kind = Kind::Memory { store: Arc::new(MemoryStore::new()), queue: MemoryQueue::new() };
        Self { prefix: "test".to_owned(), kind }
    }

    /// A database of its own on PostgreSQL, and queues of its own on RabbitMQ.
    ///
    /// # Panics
    /// When one of them does not run.
    pub async fn services() -> Self {
        let template = template_name("jobs", migrations().iter().map(|migration| migration.sql));
        let migrate =
            async |url: &str| -> job_core::Result<()> { connect(url).await?.migrate().await.map(drop) };
        let database = TestDatabase::create(&template, migrate).await.expect("PostgreSQL runs");
        let broker = tokio::task::spawn_blocking(testkit::rabbit).await.expect("starting it does not panic");
        let broker = broker.expect("RabbitMQ runs");
        let prefix = format!("flow-{}", RandomIds.next().simple());
        Self { prefix, kind: Kind::Services { database, broker } }
    }

    /// What one server needs: a store and a queue, with connections that no other server uses.
    ///
    /// # Panics
    /// When there is no connection.
    pub async fn server(&self) -> (Arc<dyn JobStore>, Arc<dyn TaskQueue>) {
        match &self.kind {
            Kind::Memory { store, queue } => (Arc::clone(store) as _, Arc::new(queue.connect())),
            Kind::Services { database, broker } => {
                let options = AmqpOptions::from_uri(broker).expect("testkit gives a valid URL");
                let queue = AmqpQueue::connect(options).await.expect("the broker is there");
                (Arc::new(connect(database.url()).await.expect("the database is there")), Arc::new(queue))
            }
        }
    }

    /// The full name of a queue.
    #[must_use]
    pub fn queue(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Where the tasks of paused jobs go.
    #[must_use]
    pub fn paused_queue(&self) -> String {
        self.queue("paused")
    }

    /// A server's settings, with queues of its own. What takes long in production takes a moment: the lease of a dispatcher
    /// that died, and the time until workers ask again for a job's status.
    #[must_use]
    pub fn settings(&self) -> EngineSettings {
        let mut settings = EngineSettings { drain: Duration::from_secs(10), ..EngineSettings::default() };
        let tracking = self.queue("tracking");
        if let Some(dispatcher) = &mut settings.dispatcher {
            dispatcher.tracking.tracking_queue.clone_from(&tracking);
            dispatcher.tracking.status_check_interval = Duration::ZERO;
            dispatcher.lease = Duration::from_secs(1);
        }
        settings.tracker = Some(TrackerSettings::new(tracking));
        settings.stower = Some(StowerSettings::new(self.paused_queue()));
        settings
    }

    /// How many seeds a random flow tries: what costs milliseconds in memory takes seconds over sockets.
    #[must_use]
    pub const fn seeds(&self) -> u64 {
        match self.kind {
            Kind::Memory { .. } => 5,
            Kind::Services { .. } => 1,
        }
    }
}

async fn connect(url: &str) -> job_core::Result<PostgresStore> {
    PostgresStore::connect(PostgresOptions::new(url)?, Arc::new(SystemClock::new())).await
}
