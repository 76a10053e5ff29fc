//! The checks behind the health endpoints: real ones, made when somebody asks and kept for a moment.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::{Clock, ClockExt, Shutdown, Timestamp};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// How long a result is good for, whoever asks.
const FRESH: Duration = Duration::from_secs(1);
/// A check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// What a check decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum CheckKind {
    /// Whether the process is to be restarted.
    Alive,
    /// Whether it is to be sent requests.
    Ready,
}

/// One check and how it went.
#[derive(Debug, Clone)]
pub(crate) struct CheckResult {
    pub(crate) name: &'static str,
    pub(crate) kind: CheckKind,
    /// What is wrong, if anything is.
    pub(crate) problem: Option<String>,
}

/// A result as the contract shows it.
#[derive(Debug, Serialize)]
pub(crate) struct CheckSummary {
    name: &'static str,
    healthy: bool,
    #[serde(rename = "type")]
    kind: CheckKind,
    critical: bool,
}

impl CheckResult {
    pub(crate) fn is_healthy(&self) -> bool {
        self.problem.is_none()
    }

    pub(crate) fn summary(&self) -> CheckSummary {
        CheckSummary { name: self.name, healthy: self.is_healthy(), kind: self.kind, critical: true }
    }
}

/// What the listener of the API says about itself.
#[derive(Debug, Default)]
pub(crate) struct PortState {
    /// Where it listens; unset when this process serves no API.
    pub(crate) address: OnceLock<SocketAddr>,
    /// Whether it accepts connections now.
    pub(crate) accepting: AtomicBool,
}

/// Makes the checks.
#[derive(Debug)]
pub(crate) struct Health {
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
    port: Arc<PortState>,
    /// Checks run as tasks of their own, so that giving up on one does not cut off a call to a backend.
    tasks: Shutdown,
    last: Mutex<Option<(Timestamp, Arc<[CheckResult]>)>>,
}

impl Health {
    pub(crate) fn new(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        clock: Arc<dyn Clock>,
        port: Arc<PortState>,
        tasks: Shutdown,
    ) -> Self {
        Self { store, queue, clock, port, tasks, last: Mutex::new(None) }
    }

    /// The results, at most a second old. Whoever asks meanwhile waits for the same ones.
    pub(crate) async fn results(&self) -> Arc<[CheckResult]> {
        let mut last = self.last.lock().await;
        if let Some((at, results)) = &*last
            && self.clock.now().since(*at) < FRESH
            && !self.tasks.is_stopping()
        {
            return Arc::clone(results);
        }
        let results = self.check_all().await;
        *last = Some((self.clock.now(), Arc::clone(&results)));
        results
    }

    async fn check_all(&self) -> Arc<[CheckResult]> {
        let (store, queue) = (Arc::clone(&self.store), Arc::clone(&self.queue));
        let accepting = self.port.accepting.load(Ordering::SeqCst);
        let address = self.port.address.get().copied();
        let port = async move {
            match address {
                Some(address) => connect(address).await.map(drop),
                None => Ok(()),
            }
        };
        let ping = async move {
            match address {
                Some(address) => ping(address).await,
                None => Ok(()),
            }
        };
        let (scheduling, ports_ready, database, ping, queue) = tokio::join!(
            self.run(async { Ok(()) }),
            self.run(port),
            self.run(async move { store.ping().await.map_err(|error| error.message().to_owned()) }),
            self.run(ping),
            self.run(async move { queue.ping().await.map_err(|error| error.message().to_owned()) }),
        );
        let ports_alive = match address {
            Some(address) if !accepting && !self.tasks.is_stopping() => {
                Some(format!("api connector on port {} is: not accepting connections", address.port()))
            }
            _ => None,
        };
        let stopping = self.tasks.is_stopping().then(|| "the process is stopping".to_owned());
        Arc::new([
            CheckResult { name: "deadlocks", kind: CheckKind::Alive, problem: scheduling },
            CheckResult { name: "ports-alive", kind: CheckKind::Alive, problem: ports_alive },
            CheckResult { name: "ports-ready", kind: CheckKind::Ready, problem: stopping.or(ports_ready) },
            CheckResult { name: "database", kind: CheckKind::Ready, problem: database },
            CheckResult { name: "ping", kind: CheckKind::Ready, problem: ping },
            CheckResult { name: "queue", kind: CheckKind::Ready, problem: queue },
        ])
    }

    async fn run(&self, check: impl Future<Output = Result<(), String>> + Send + 'static) -> Option<String> {
        match self.clock.timeout(PATIENCE, self.tasks.spawn(check)).await {
            Ok(Ok(result)) => result.err(),
            Ok(Err(_)) => Some("the check panicked".to_owned()),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let address = if address.ip().is_unspecified() {
        let loopback =
            if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() };
        SocketAddr::new(loopback, address.port())
    } else {
        address
    };
    let failed =
        |error| format!("api connector on port {} is: not accepting connections ({error})", address.port());
    TcpStream::connect(address).await.map_err(failed)
}

async fn ping(address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let request =
        format!("GET /job-service/v1/ping HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.take(4096).read_to_end(&mut answer).await
    };
    exchange.await.map_err(|error| format!("ping failed: {error}"))?;
    if answer.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        Err(format!("ping was answered with {:?}", String::from_utf8_lossy(line)))
    }
}
