//! The parts of an engine, wired together in one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, IdSource, RandomIds, SystemClock};
use crate::dispatcher::{Dispatcher, DispatcherSettings};
use crate::queue::TaskQueue;
use crate::service::JobService;
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::store::JobStore;
use crate::stower::{Stower, StowerSettings};
use crate::tracker::{Tracker, TrackerCounts, TrackerSettings};

/// Which parts run, and how.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The dispatcher; none when another process dispatches.
    pub dispatcher: Option<DispatcherSettings>,
    /// The tracker; none when another process tracks.
    pub tracker: Option<TrackerSettings>,
    /// The stower; none when no worker uses a paused queue, or another process stows.
    pub stower: Option<StowerSettings>,
}

impl Default for EngineSettings {
    fn default() -> Self {
        let dispatcher = DispatcherSettings::default();
        let tracker = TrackerSettings::new(dispatcher.tracking.tracking_queue.clone());
        let stower = StowerSettings::new("jobservice-paused-in");
        Self { dispatcher: Some(dispatcher), tracker: Some(tracker), stower: Some(stower) }
    }
}

/// A running engine: use cases, dispatcher, tracker and stower over one store and one queue.
///
/// Dropping it does not stop its tasks; [`stop`](Self::stop) does.
#[derive(Debug)]
pub struct Engine {
    service: JobService,
    queue: Arc<dyn TaskQueue>,
    shutdown: Shutdown,
    tracked: Option<watch::Receiver<TrackerCounts>>,
}

impl Engine {
    /// Starts the parts that `settings` name, on the current tokio runtime, with the system's clock.
    #[must_use]
    pub fn start(store: Arc<dyn JobStore>, queue: Arc<dyn TaskQueue>, settings: EngineSettings) -> Self {
        let signals = Signals::default();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let service = JobService::new(store).with_clock(Arc::clone(&clock)).with_signals(signals.clone());
        Self::start_with(service, queue, settings)
    }

    /// Starts the parts around a `service` that was set up by the caller; they share its store, clock and signals.
    #[must_use]
    pub fn start_with(service: JobService, queue: Arc<dyn TaskQueue>, settings: EngineSettings) -> Self {
        let shutdown = Shutdown::new();
        let store = || Arc::clone(service.store());
        let clock = || Arc::clone(service.clock());
        if let Some(settings) = settings.dispatcher {
            let owner = RandomIds.next();
            let dispatcher = Dispatcher::new(
                store(),
                Arc::clone(&queue),
                clock(),
                service.signals().clone(),
                owner,
                settings,
            );
            shutdown.spawn(dispatcher.run(shutdown.child()));
        }
        let tracked = settings.tracker.map(|settings| {
            let tracker =
                Tracker::new(store(), Arc::clone(&queue), clock(), service.signals().clone(), settings);
            let counts = tracker.counts();
            shutdown.spawn(tracker.run(shutdown.child()));
            counts
        });
        if let Some(settings) = settings.stower {
            let signals = service.signals().clone();
            let stower = Stower::new(store(), Arc::clone(&queue), clock(), signals, settings);
            shutdown.spawn(stower.run(shutdown.child()));
        }
        Self { service, queue, shutdown, tracked }
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

    /// Owns the engine's tasks. Workers of the same process are spawned on it, to stop with the engine.
    #[must_use]
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// What the tracker has done so far, changing with every batch; none when it does not run here.
    #[must_use]
    pub fn tracked(&self) -> Option<watch::Receiver<TrackerCounts>> {
        self.tracked.clone()
    }

    /// Lets every part finish what it has begun, at most `limit`; answers whether all did. What is left is delivered or
    /// dispatched again by whoever runs next.
    pub async fn stop(self, limit: Duration) -> bool {
        let drained = self.shutdown.drain(self.service.clock().as_ref(), limit).await;
        self.queue.close().await;
        drained
    }
}
