//! The server as a value: configuration in, running parts out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use job_core::dispatcher::{DispatcherSettings, TrackingSettings};
use job_core::queue::TaskQueue;
use job_core::store::{Action, JobStore};
use job_core::stower::StowerSettings;
use job_core::{Clock, Engine, EngineSettings, JobService, Shutdown, Signals, SystemClock};

use crate::audit::AuditLog;
use crate::auth::{Guard, Secret};
use crate::config::{Config, Role};
use crate::handlers::Api;
use crate::health::{Health, Port, PortState};
use crate::router::{ADMIN, API};
use crate::server::{Gate, Listener, Site, Tls};
use crate::telemetry::{self, Glance, ObservedQueue, ObservedStore};

/// A server whose addresses are bound and whose engine runs. It accepts connections once [`run`](Self::run) is polled.
///
/// ```no_run
/// # async fn example() -> anyhow::Result<()> {
/// use std::sync::Arc;
/// use job_core::Shutdown;
/// use job_server::{App, Config};
///
/// let store = Arc::new(job_store_memory::MemoryStore::new());
/// let queue = Arc::new(job_queue_memory::MemoryQueue::new());
/// let app = App::build(Config::default(), store, queue).await?;
/// println!("http://{}", app.address().expect("the API is among the default roles"));
/// app.run(Shutdown::new()).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct App {
    config: Config,
    engine: Engine,
    clock: Arc<dyn Clock>,
    api: Option<Listener>,
    https: Option<(Listener, Arc<Tls>)>,
    admin: Option<Listener>,
    gate: Gate,
    port: Arc<PortState>,
}

impl App {
    /// Binds the addresses and starts the engine's parts on `store` and `queue`.
    ///
    /// # Errors
    /// A sentence for the operator: a setting that is unsafe, or an address that cannot be bound.
    pub async fn build(
        config: Config,
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
    ) -> anyhow::Result<Self> {
        config.check()?;
        telemetry::start();
        let store: Arc<dyn JobStore> = Arc::new(ObservedStore(store));
        let queue: Arc<dyn TaskQueue> = Arc::new(ObservedQueue(queue));
        let api = if config.roles.has(Role::Api) { Some(Listener::bind(config.listen).await?) } else { None };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let https = match &config.tls {
            Some(files) if config.roles.has(Role::Api) => {
                let tls = Tls::open(files.clone(), clock.now())?;
                Some((Listener::bind(config.https_listen).await?, Arc::new(tls)))
            }
            _ => None,
        };
        let admin = match config.admin_listen {
            Some(address) => Some(Listener::bind(address).await?),
            None => None,
        };
        let port = Arc::new(PortState::default());
        if let Some(listener) = &api {
            port.http.address.get_or_init(|| listener.address());
        }
        if let Some((listener, _)) = &https {
            port.https.address.get_or_init(|| listener.address());
        }
        let guard = match &config.tokens {
            Some(tokens) => {
                let (secret, rate) = (config.secret.clone(), config.limits.token_rate_max);
                Guard::with_tokens(tokens, secret, rate, Arc::clone(&clock))?
            }
            None => Guard::open(Arc::clone(&clock)),
        };
        let audit = AuditLog::open(config.audit_log.as_deref(), Arc::clone(&clock))?;
        let gate = Gate { guard: Arc::new(guard), audit: Arc::new(audit) };
        let mut service = JobService::new(store)
            .with_clock(Arc::clone(&clock))
            .with_signals(Signals::default())
            .with_live_jobs_max(config.limits.live_jobs_max.into())
            .with_job_types(config.job_types.clone())
            .with_bulk_step(Action::Cancel, config.cancel_batch)
            .with_bulk_step(Action::Delete, config.delete_batch);
        if let Some(pattern) = config.suspended_partitions.clone() {
            service = service.with_suspended_partitions(Arc::new(move |partition| pattern.holds(partition)));
        }
        if let Some(queue) = &config.resume_queue {
            service = service.with_resume_queue(queue);
        }
        let dispatcher = config.roles.has(Role::Dispatcher).then(|| DispatcherSettings {
            poll_interval: config.dispatch_poll,
            tracking: TrackingSettings {
                // Those who take the requests may be another process, which asks for tokens.
                status_capability: gate
                    .guard
                    .status_capability()
                    .or_else(|| config.secret.as_ref().map(Secret::status_capability)),
                ..config.tracking(api.as_ref().map(Listener::address))
            },
            wake_queue: config.wake_queue.clone(),
            ..DispatcherSettings::default()
        });
        let tracker = config.roles.has(Role::Tracker).then(|| config.tracker());
        let stower = config.roles.has(Role::Stower).then(|| StowerSettings::new(&config.paused_queue));
        let drain = config.limits.drain_time;
        let engine =
            Engine::start_with(service, queue, EngineSettings { dispatcher, tracker, stower, drain });
        Ok(Self { config, engine, clock, api, https, admin, gate, port })
    }

    /// Where the API listens; none when this process does not serve it.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.api.as_ref().map(Listener::address)
    }

    /// Where the API listens for HTTPS, if it does.
    #[must_use]
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https.as_ref().map(|(listener, _)| listener.address())
    }

    /// Where the admin endpoints are, if anywhere.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(Listener::address)
    }

    /// The engine behind the API. Workers of this process run on it: see [`Engine::host`].
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the operator may have read anew while the server runs.
    pub(crate) fn reload(&self) -> Reload {
        let tls = self.https.as_ref().map(|(_, tls)| Arc::clone(tls));
        Reload { audit: Arc::clone(&self.gate.audit), tls, clock: Arc::clone(&self.clock) }
    }

    /// Serves until `shutdown` stops; then takes no new connections, finishes the requests in hand, and stops the engine.
    /// Answers whether everything was finished in time.
    pub async fn run(self, shutdown: Shutdown) -> bool {
        let limits = self.config.limits.clone();
        let (requests, admin_requests) = (Shutdown::new(), Shutdown::new());
        let api = Arc::new(self.handlers(&requests));
        let site = |routes, tasks: &Shutdown| {
            let clock = Arc::clone(&self.clock);
            let (gate, limits) = (self.gate.clone(), limits.clone());
            Arc::new(Site::new(routes, Arc::clone(&api), gate, limits, clock, tasks.clone()))
        };
        self.gate.guard.follow(&requests);
        let api_site = site(API, &requests);
        let accept = |open: Open, serving| {
            requests.spawn(async move {
                // Also when the task panics, so that the check of the ports notices.
                let _open = open;
                serving.await;
            });
        };
        if let Some((listener, tls)) = self.https {
            let serving = listener.run(Arc::clone(&api_site), Some(tls), requests.clone());
            accept(Open::new(&self.port, |port| &port.https), serving);
        }
        if let Some(listener) = self.api {
            let serving = listener.run(api_site, None, requests.clone());
            accept(Open::new(&self.port, |port| &port.http), serving);
        }
        if let Some(listener) = self.admin {
            admin_requests.spawn(listener.run(site(ADMIN, &admin_requests), None, admin_requests.clone()));
        }
        admin_requests.spawn(telemetry::keep_up(Arc::clone(&self.clock), admin_requests.clone()));
        shutdown.stopping().await;
        self.port.leaving.store(true, Ordering::SeqCst);
        self.clock.sleep(self.config.drain_delay).await;
        let finished = requests.drain(self.clock.as_ref(), limits.drain_time).await;
        let drained = self.engine.stop().await;
        // Last, so that an operator can look at what keeps the process.
        admin_requests.drain(self.clock.as_ref(), limits.drain_time).await;
        let recorded = self.gate.audit.complete(limits.drain_time).await;
        finished && drained && recorded
    }

    fn handlers(&self, tasks: &Shutdown) -> Api {
        let service = self.engine.service().clone();
        let health = Health::new(
            Arc::clone(service.store()),
            Arc::clone(self.engine.queue()),
            Arc::clone(&self.clock),
            Arc::clone(&self.port),
            tasks.clone(),
            self.config.health.clone(),
        );
        let glance = Glance::new(
            Arc::clone(service.store()),
            Arc::clone(self.engine.queue()),
            self.config.tracking_queue.clone(),
            Arc::clone(&self.clock),
            tasks.clone(),
        );
        Api {
            service,
            page_size: self.config.page_size,
            status_check_interval: self.config.status_check_interval,
            health,
            glance,
            shutdown: tasks.clone(),
        }
    }
}

/// Reads anew what lies in files and may have been replaced.
#[derive(Debug)]
pub(crate) struct Reload {
    audit: Arc<AuditLog>,
    tls: Option<Arc<Tls>>,
    clock: Arc<dyn Clock>,
}

impl Reload {
    pub(crate) fn now(&self) {
        self.audit.reopen();
        if let Some(tls) = &self.tls {
            tls.reload(self.clock.now());
        }
    }
}

/// That a port of the API accepts connections, as long as this is there.
struct Open {
    port: Arc<PortState>,
    which: fn(&PortState) -> &Port,
}

impl Open {
    fn new(port: &Arc<PortState>, which: fn(&PortState) -> &Port) -> Self {
        which(port).accepting.store(true, Ordering::SeqCst);
        Self { port: Arc::clone(port), which }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        (self.which)(&self.port).accepting.store(false, Ordering::SeqCst);
    }
}
