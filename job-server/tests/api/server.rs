//! A server for one test.

use std::net::SocketAddr;
use std::sync::Arc;

use job_core::progress::ReportEvent;
use job_core::store::{JobStore, TaskReport};
use job_core::{JobKey, Shutdown, SystemClock};
use job_queue_memory::MemoryQueue;
use job_server::{App, Config};
use job_store_memory::MemoryStore;
use tokio::task::JoinHandle;

use crate::client::{Answer, request};

/// A job that is accepted.
pub(crate) const BODY: &str =
    r#"{"task":{"taskClassifier":"W","taskApiVersion":1,"taskData":"data","taskPipe":"w-in"}}"#;

pub(crate) const JSON: &str = "Content-Type: application/json";

/// A running server on a free port.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) queue: Arc<MemoryQueue>,
    pub(crate) shutdown: Shutdown,
    pub(crate) running: JoinHandle<bool>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Config::default(), Arc::new(MemoryStore::new())).await
    }

    pub(crate) async fn with<S: JobStore>(config: Config, store: Arc<S>) -> Self {
        let store: Arc<dyn JobStore> = store;
        let queue = Arc::new(MemoryQueue::new());
        let admin_listen = config.admin_listen.or_else(|| "127.0.0.1:0".parse().ok());
        let config = Config { admin_listen, ..config };
        let app = App::build(config, Arc::clone(&store), Arc::clone(&queue) as _).await.unwrap();
        let (address, admin) = (app.address().unwrap(), app.admin_address().unwrap());
        let https = app.https_address();
        let shutdown = Shutdown::new();
        let running = Shutdown::new().spawn(app.run(shutdown.clone()));
        Self { address, admin, https, store, queue, shutdown, running }
    }

    pub(crate) fn job_path(id: &str) -> String {
        format!("/job-service/v1/partitions/p/jobs/{id}")
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        request(self.address, "GET", target, &[], b"").await
    }

    pub(crate) async fn post(&self, target: &str) -> Answer {
        request(self.address, "POST", target, &[], b"").await
    }

    pub(crate) async fn put(&self, id: &str, body: &str) -> Answer {
        request(self.address, "PUT", &Self::job_path(id), &[JSON], body.as_bytes()).await
    }

    pub(crate) async fn get_job(&self, id: &str) -> Answer {
        self.get(&Self::job_path(id)).await
    }

    /// Creates a job with nothing special about it.
    pub(crate) async fn create(&self, id: &str) {
        let answer = self.put(id, BODY).await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Reports on a task of a job, as the tracker would.
    pub(crate) async fn report(&self, id: &str, task: &str, event: ReportEvent) {
        use job_core::Clock as _;
        let report = TaskReport { job: JobKey::parse("p", id).unwrap(), task: task.parse().unwrap(), event };
        self.store.record(&[report], SystemClock::new().now()).await.unwrap();
    }
}
