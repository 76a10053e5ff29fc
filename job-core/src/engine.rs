//! A whole engine inside one process: the use cases, a dispatcher, a tracker, a stower and any number of workers.
//!
//! Nothing here that an application could not put together from the parts; it is the usual way to do so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::backoff::Backoff;
use crate::clock::{Clock, IdSource, RandomIds};
use crate::dispatcher::{Dispatcher, DispatcherSettings};
use crate::queue::TaskQueue;
use crate::service::JobService;
use crate::shutdown::Shutdown;
use crate::store::JobStore;
use crate::stower::{Stower, StowerSettings};
use crate::tracker::{Tracker, TrackerCounts, TrackerSettings};
use crate::worker::{Runner, RunnerBuilder, RunnerMonitor, StoreStatus};

/// Which parts run, and how.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What starts tasks; none when another process does. Its tracking queue is the one the tracker consumes.
    pub dispatcher: Option<DispatcherSettings>,
    /// What records reports; none when another process does.
    pub tracker: Option<TrackerSettings>,
    /// What keeps the messages of paused jobs; none when no worker uses a paused queue, or another process stows.
    pub stower: Option<StowerSettings>,
    /// How long each stage of stopping waits for what is in hand; longer than a runner's own limit, so that tasks which
    /// do not end in time are handed back in order.
    pub drain: Duration,
}

impl Default for EngineSettings {
    /// Every part with its defaults.
    fn default() -> Self {
        let dispatcher = DispatcherSettings::default();
        Self {
            tracker: Some(TrackerSettings::new(dispatcher.tracking.tracking_queue.clone())),
            dispatcher: Some(dispatcher),
            stower: Some(StowerSettings::new("jobservice-paused-in")),
            drain: Duration::from_secs(40),
        }
    }
}

/// A running engine. Dropping it asks everything to stop, without waiting.
///
/// ```
/// # use std::sync::Arc;
/// # use job_core::{Engine, EngineSettings, store::JobStore, queue::TaskQueue};
/// # use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
/// # struct Greeter;
/// # impl Worker for Greeter {
/// #     type Task = String;
/// #     const KIND: &'static str = "Greet";
/// #     async fn run(&self, _: String, _: &TaskContext) -> WorkerResult { Ok(Outcome::done()) }
/// # }
/// # async fn embed(store: Arc<dyn JobStore>, queue: Arc<dyn TaskQueue>) -> job_core::Result<()> {
/// let engine = Engine::start(store, queue, EngineSettings::default());
/// engine.host(engine.runner("greetings").register(Greeter).build()?);
/// // ... create jobs through engine.service() ...
/// engine.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Engine {
    service: JobService,
    queue: Arc<dyn TaskQueue>,
    /// Stopped first: what they have in hand is still recorded.
    workers: Shutdown,
    parts: Shutdown,
    drain: Duration,
    tracked: Option<watch::Receiver<TrackerCounts>>,
}

impl Engine {
    /// Starts the parts that `settings` name between `store` and `queue`, with the system's clock and random ids. Needs
    /// a tokio runtime.
    #[must_use]
    pub fn start(store: Arc<dyn JobStore>, queue: Arc<dyn TaskQueue>, settings: EngineSettings) -> Self {
        Self::start_with(JobService::new(store), queue, settings)
    }

    /// Starts the parts around a `service` that was set up by the caller; they share its store, clock and signals.
    #[must_use]
    pub fn start_with(service: JobService, queue: Arc<dyn TaskQueue>, settings: EngineSettings) -> Self {
        let parts = Shutdown::new();
        let store = || Arc::clone(service.store());
        let clock = || Arc::clone(service.clock());
        let signals = || service.signals().clone();
        if let Some(settings) = settings.dispatcher {
            let owner = RandomIds.next();
            let dispatcher =
                Dispatcher::new(store(), Arc::clone(&queue), clock(), signals(), owner, settings);
            parts.spawn(dispatch(service.clone(), dispatcher, queue.is_durable(), parts.clone()));
        }
        let tracked = settings.tracker.map(|settings| {
            let tracker = Tracker::new(store(), Arc::clone(&queue), clock(), signals(), settings);
            let counts = tracker.counts();
            parts.spawn(tracker.run(parts.clone()));
            counts
        });
        if let Some(settings) = settings.stower {
            let stower = Stower::new(store(), Arc::clone(&queue), clock(), signals(), settings);
            parts.spawn(stower.run(parts.clone()));
        }
        Self { service, queue, workers: Shutdown::new(), parts, drain: settings.drain, tracked }
    }

    /// What clients call.
    #[must_use]
    pub fn service(&self) -> &JobService {
        &self.service
    }

    /// The queue that the engine dispatches to; workers consume it.
    #[must_use]
    pub fn queue(&self) -> &Arc<dyn TaskQueue> {
        &self.queue
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.service.clock()
    }

    /// What the tracker has done so far, changing with every batch; none when it does not run here.
    #[must_use]
    pub fn tracked(&self) -> Option<watch::Receiver<TrackerCounts>> {
        self.tracked.clone()
    }

    /// Begins a runner for the tasks on the queue named `input` that shares the engine's queue and clock, and asks its
    /// store whether a job is still wanted.
    pub fn runner(&self, input: impl Into<String>) -> RunnerBuilder {
        let clock = self.service.clock();
        let status = StoreStatus::new(Arc::clone(self.service.store()), Arc::clone(clock));
        let signals = self.service.signals().clone();
        Runner::builder(Arc::clone(&self.queue), input)
            .clock(Arc::clone(clock))
            .status(status)
            .signals(signals)
    }

    /// Runs a runner until the engine stops.
    pub fn host(&self, runner: Runner) -> RunnerMonitor {
        let monitor = runner.monitor();
        runner.start(&self.workers);
        monitor
    }

    /// Owns what runs beside the engine and is stopped with its workers, such as a server of its API.
    #[must_use]
    pub fn workers(&self) -> &Shutdown {
        &self.workers
    }

    /// Stops the workers, then the tracker, the dispatcher and the stower, then the queue's consumers; waits for each
    /// stage to finish what it has in hand, and answers whether all did within the settings' time. What is left is
    /// delivered or dispatched again by whoever runs next.
    pub async fn stop(self) -> bool {
        let clock = self.service.clock().as_ref();
        let workers = self.workers.drain(clock, self.drain).await;
        let parts = self.parts.drain(clock, self.drain).await;
        self.queue.close().await;
        workers && parts
    }
}

/// Runs the dispatcher. On a queue that has forgotten its messages, what was dispatched before this process is dispatched
/// again first; nothing is dispatched meanwhile, so that it happens to nothing twice.
async fn dispatch(service: JobService, dispatcher: Dispatcher, durable: bool, shutdown: Shutdown) {
    let mut failures = 0;
    while !durable && !shutdown.is_stopping() {
        match service.redispatch_unfinished().await {
            Ok(0) => break,
            Ok(jobs) => {
                tracing::info!(jobs, "the queue keeps nothing: unfinished jobs are dispatched again");
                break;
            }
            Err(error) => {
                let wait = Backoff::RECONNECT.wait(failures, 0);
                failures = failures.saturating_add(1);
                tracing::warn!(%error, retry_ms = wait.as_millis(), "redispatching failed");
                tokio::select! {
                    () = shutdown.stopping() => {}
                    () = service.clock().sleep(wait) => {}
                }
            }
        }
    }
    dispatcher.run(shutdown).await;
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.workers.stop();
        self.parts.stop();
    }
}
