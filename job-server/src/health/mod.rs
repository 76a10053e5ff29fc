//! The checks behind the health endpoints: real ones, made when somebody asks and kept for a moment.

mod schedule;

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

use schedule::Belief;
pub use schedule::CheckSchedule;

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

/// What a listener of the API says about itself.
#[derive(Debug, Default)]
pub(crate) struct Port {
    /// Where it listens; unset when this process does not serve that.
    pub(crate) address: OnceLock<SocketAddr>,
    /// Whether it accepts connections now.
    pub(crate) accepting: AtomicBool,
}

/// What the listeners of the API say about themselves.
#[derive(Debug, Default)]
pub(crate) struct PortState {
    pub(crate) http: Port,
    pub(crate) https: Port,
    /// Whether the process is about to stop, though it still serves: it is not ready any more.
    pub(crate) leaving: AtomicBool,
}

/// How often the checks of each kind are made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthSchedule {
    /// Those that decide whether the process is to be restarted.
    pub alive: CheckSchedule,
    /// Those that decide whether it is to be sent requests.
    pub ready: CheckSchedule,
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
    schedule: HealthSchedule,
    started: Timestamp,
    alive: Mutex<Kept>,
    ready: Mutex<Kept>,
}

/// The checks of one kind as they were last.
#[derive(Debug)]
struct Kept {
    checked: Option<Timestamp>,
    checks: Vec<(&'static str, Belief)>,
}

impl Kept {
    fn new(names: &[&'static str]) -> Mutex<Self> {
        let checks = names.iter().map(|name| (*name, Belief::default())).collect();
        Mutex::new(Self { checked: None, checks })
    }

    fn is_healthy(&self) -> bool {
        self.checks.iter().all(|(_, belief)| belief.problem().is_none())
    }

    fn learn(&mut self, problems: Vec<Option<String>>, schedule: &CheckSchedule, now: Timestamp) {
        for ((_, belief), problem) in self.checks.iter_mut().zip(problems) {
            belief.learn(problem, schedule);
        }
        self.checked = Some(now);
    }

    fn results(&self, kind: CheckKind) -> impl Iterator<Item = CheckResult> {
        self.checks.iter().map(move |(name, belief)| CheckResult { name, kind, problem: belief.problem() })
    }
}

impl Health {
    pub(crate) fn new(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        clock: Arc<dyn Clock>,
        port: Arc<PortState>,
        tasks: Shutdown,
        schedule: HealthSchedule,
    ) -> Self {
        let started = clock.now();
        let alive = Kept::new(&["deadlocks", "ports-alive"]);
        let ready = Kept::new(&["ports-ready", "database", "ping", "queue"]);
        Self { store, queue, clock, port, tasks, schedule, started, alive, ready }
    }

    /// The results, as old as the schedule allows. Whoever asks meanwhile waits for the same ones. A stopping process is
    /// never ready, whatever the schedule says.
    pub(crate) async fn results(&self) -> Vec<CheckResult> {
        let mut results = self.alive().await;
        results.extend(self.ready().await);
        if (self.port.leaving.load(Ordering::SeqCst) || self.tasks.is_stopping())
            && let Some(port) = results.iter_mut().find(|result| result.name == "ports-ready")
        {
            port.problem = Some("the process is stopping".to_owned());
        }
        results
    }

    /// What decides whether to restart this process: nothing outside it, so that an outage of a backend restarts nobody.
    pub(crate) async fn alive(&self) -> Vec<CheckResult> {
        let mut kept = self.alive.lock().await;
        if self.is_due(&kept, &self.schedule.alive) {
            let scheduling = self.run(async { Ok(()) }).await;
            kept.learn(vec![scheduling, self.closed_port()], &self.schedule.alive, self.clock.now());
        }
        kept.results(CheckKind::Alive).collect()
    }

    async fn ready(&self) -> Vec<CheckResult> {
        let mut kept = self.ready.lock().await;
        if self.is_due(&kept, &self.schedule.ready) {
            let problems = self.check_readiness().await;
            kept.learn(problems, &self.schedule.ready, self.clock.now());
        }
        kept.results(CheckKind::Ready).collect()
    }

    fn is_due(&self, kept: &Kept, schedule: &CheckSchedule) -> bool {
        let now = self.clock.now();
        match kept.checked {
            None => now.since(self.started) >= schedule.initial_delay,
            Some(checked) => schedule.is_stale(kept.is_healthy(), checked, now),
        }
    }

    fn closed_port(&self) -> Option<String> {
        let closed = [&self.port.http, &self.port.https].into_iter().find_map(|port| {
            port.address.get().filter(|_| !port.accepting.load(Ordering::SeqCst)).map(SocketAddr::port)
        });
        let port = closed.filter(|_| !self.tasks.is_stopping())?;
        Some(format!("api connector on port {port} is: not accepting connections"))
    }

    async fn check_readiness(&self) -> Vec<Option<String>> {
        let (store, queue) = (Arc::clone(&self.store), Arc::clone(&self.queue));
        let address = self.port.http.address.get().copied();
        let https = self.port.https.address.get().copied();
        let port = async move {
            for address in address.into_iter().chain(https) {
                connect(address).await?;
            }
            Ok(())
        };
        let ping = async move {
            match address {
                Some(address) => ping(address).await,
                None => Ok(()),
            }
        };
        let (port, database, ping, queue) = tokio::join!(
            self.run(port),
            self.run(async move { store.ping().await.map_err(|error| error.message().to_owned()) }),
            self.run(ping),
            self.run(async move { queue.ping().await.map_err(|error| error.message().to_owned()) }),
        );
        vec![port, database, ping, queue]
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

#[cfg(test)]
mod tests {
    use super::*;
    use job_core::clock::ManualClock;

    fn health(port: &Arc<PortState>) -> Health {
        Health::new(
            Arc::new(job_store_memory::MemoryStore::new()),
            Arc::new(job_queue_memory::MemoryQueue::new()),
            Arc::new(ManualClock::new(Timestamp::default())),
            Arc::clone(port),
            Shutdown::new(),
            HealthSchedule::default(),
        )
    }

    #[tokio::test]
    async fn it_is_ready_only_when_its_port_of_https_can_be_reached() {
        let port = Arc::new(PortState::default());
        let health = health(&port);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = *port.https.address.get_or_init(|| listener.local_addr().unwrap());
        assert_eq!(health.check_readiness().await, [None, None, None, None]);
        drop(listener);
        let problems = health.check_readiness().await;
        let problem = problems[0].as_ref().expect("nothing listens there any more");
        assert!(problem.contains(&format!("port {} is: not accepting", address.port())), "{problem}");
        assert_eq!(problems[1..], [None, None, None], "the rest is well");
    }

    #[tokio::test]
    async fn each_port_that_is_served_has_to_accept() {
        let port = Arc::new(PortState::default());
        let health = health(&port);
        assert_eq!(health.closed_port(), None, "none is served");
        for (served, number) in [(&port.http, 80), (&port.https, 443)] {
            served.address.get_or_init(|| ([127, 0, 0, 1], number).into());
            let closed = health.closed_port();
            assert!(closed.is_some_and(|problem| problem.contains(&format!("port {number} "))));
            served.accepting.store(true, Ordering::SeqCst);
            assert_eq!(health.closed_port(), None);
        }
        port.https.accepting.store(false, Ordering::SeqCst);
        assert!(health.closed_port().is_some());
    }
}
