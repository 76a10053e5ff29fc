//! Feeds workers from a queue.

use std::fmt;
use std::future::poll_fn;
use std::num::{NonZeroU16, NonZeroUsize};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::Worker;
use super::counts::{Counters, RunnerCounts};
use super::finisher::Finisher;
use super::place::Place;
use super::registry::Registry;
use super::responses::Style;
use super::settings::RunnerSettings;
use super::status::{AlwaysActive, StatusSource};
use super::status_cache::CachedStatus;
use super::task::Station;
use crate::backoff::Backoff;
use crate::clock::{Clock, IdSource, RandomIds, SystemClock};
use crate::error::{Error, Result};
use crate::queue::{ConsumeOptions, Consumer, TaskQueue};
use crate::shutdown::Shutdown;
use crate::signals::Signals;

/// How many batches of finished tasks may be on their way at once.
const FINISHING: usize = 4;
/// How many entries of a task travel in one report message to an engine in the same process.
const REPORT_BUFFER_IN_PROCESS: usize = 100;
/// How long tasks that were told to end at once may take to do so.
const ABORT_LIMIT: Duration = Duration::from_secs(5);

/// Takes tasks off one queue and has them performed.
///
/// ```
/// # use std::sync::Arc;
/// # use job_core::{Shutdown, queue::TaskQueue};
/// # use job_core::worker::{Outcome, Runner, TaskContext, Worker, WorkerResult};
/// # struct Greeter;
/// # impl Worker for Greeter {
/// #     type Task = String;
/// #     const KIND: &'static str = "Greet";
/// #     async fn run(&self, _: String, _: &TaskContext) -> WorkerResult { Ok(Outcome::done()) }
/// # }
/// # async fn host(queue: Arc<dyn TaskQueue>, shutdown: Shutdown) -> job_core::Result<()> {
/// let runner = Runner::builder(queue, "greetings").register(Greeter).concurrency(16).build()?;
/// runner.start(&shutdown);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Runner {
    station: Arc<Station>,
}

/// Reads the counters of a runner that runs.
#[derive(Debug, Clone)]
pub struct RunnerMonitor(Arc<Counters>);

impl RunnerMonitor {
    /// What the runner has done so far.
    #[must_use]
    pub fn counts(&self) -> RunnerCounts {
        self.0.snapshot()
    }
}

impl Runner {
    /// A runner for the tasks on the queue named `input`.
    pub fn builder(queue: Arc<dyn TaskQueue>, input: impl Into<String>) -> RunnerBuilder {
        RunnerBuilder {
            queue,
            input: input.into(),
            registry: Registry::default(),
            settings: RunnerSettings::default(),
            status: Arc::new(AlwaysActive),
            signals: None,
            clock: None,
            ids: Arc::new(RandomIds),
        }
    }

    /// Reads the runner's counters while it runs.
    #[must_use]
    pub fn monitor(&self) -> RunnerMonitor {
        RunnerMonitor(Arc::clone(&self.station.counters))
    }

    /// Runs in the background, as one of the tasks of `shutdown`.
    pub fn start(self, shutdown: &Shutdown) -> JoinHandle<()> {
        shutdown.spawn(self.run(shutdown.child()))
    }

    /// Works until stopping is asked for. Then it takes no more tasks, lets those that run finish within the drain limit,
    /// and hands back the rest.
    pub async fn run(self, shutdown: Shutdown) {
        let station = self.station;
        let (settings, running) = (&station.settings, station.running.clone());
        let concurrency = settings.concurrency.get();
        let lanes = tokio::runtime::Handle::current().metrics().num_workers().clamp(1, concurrency);
        let prefetch = u16::try_from(settings.prefetch_of_all_lanes().div_ceil(lanes)).unwrap_or(u16::MAX);
        let places = Arc::new(Semaphore::new(concurrency.min(Semaphore::MAX_PERMITS)));
        let abort = Shutdown::new();
        let finishing: Vec<_> = (0..FINISHING)
            .map(|_| shutdown.spawn(Arc::clone(&station.finisher).run(running.clone(), abort.clone())))
            .collect();
        let taking: Vec<_> = (0..lanes)
            .map(|_| {
                let lane = Lane {
                    station: Arc::clone(&station),
                    places: Arc::clone(&places),
                    shutdown: shutdown.clone(),
                    abort: abort.clone(),
                    prefetch,
                };
                shutdown.spawn(lane.run())
            })
            .collect();
        shutdown.stopping().await;
        running.stop();
        futures::future::join_all(taking).await;
        if !running.drain(station.clock.as_ref(), settings.drain_limit).await {
            tracing::warn!(queue.name = station.input, "tasks that did not finish in time are handed back");
            abort.stop();
            running.drain(station.clock.as_ref(), ABORT_LIMIT).await;
        }
        station.finisher.close();
        futures::future::join_all(finishing).await;
    }
}

/// One of a runner's loops, with a consumer of its own.
///
/// A task that ends at its first poll costs nothing but its own work. One that has to wait is spawned then, and the lane
/// goes on: neither waiting nor computing tasks hold up more than their share.
struct Lane {
    station: Arc<Station>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
    abort: Shutdown,
    prefetch: u16,
}

impl Lane {
    async fn run(self) {
        let mut failures = 0;
        while !self.shutdown.is_stopping() {
            let options = ConsumeOptions { prefetch: self.prefetch };
            let consumer = tokio::select! {
                biased;
                () = self.shutdown.stopping() => return,
                consumer = self.station.queue.consume(&self.station.input, options) => consumer,
            };
            match consumer {
                Ok(consumer) => {
                    failures = 0;
                    self.serve(consumer).await;
                }
                Err(error) => {
                    tracing::warn!(%error, queue.name = self.station.input, "the queue cannot be consumed");
                }
            }
            let wait = Backoff::RECONNECT.wait(failures, 0);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = self.shutdown.stopping() => {}
                () = self.station.clock.sleep(wait) => {}
            }
        }
    }

    /// Returns when stopping is asked for or the consumer ends.
    async fn serve(&self, mut consumer: Consumer) {
        let mut stopping = pin!(self.shutdown.stopping());
        let mut kept: Option<OwnedSemaphorePermit> = None;
        loop {
            let place = match kept.take() {
                Some(place) => place,
                None => tokio::select! {
                    biased;
                    () = &mut stopping => return,
                    place = Arc::clone(&self.places).acquire_owned() => match place {
                        Ok(place) => place,
                        Err(_) => return,
                    },
                },
            };
            let delivery = tokio::select! {
                biased;
                () = &mut stopping => return,
                delivery = consumer.next() => match delivery {
                    Some(delivery) => delivery,
                    None => return,
                },
            };
            let place = Arc::new(Place::new(place));
            let mut task: Pin<Box<dyn Future<Output = ()> + Send>> =
                Box::pin(Arc::clone(&self.station).process(delivery, Arc::clone(&place)));
            if poll_fn(|cx| Poll::Ready(task.as_mut().poll(cx))).await.is_ready() {
                kept = place.take();
                // A queue that always has more would otherwise keep the thread.
                tokio::task::consume_budget().await;
                continue;
            }
            let aborted = self.abort.stopping();
            self.station.running.spawn(async move {
                tokio::select! {
                    biased;
                    () = task => {}
                    () = aborted => {}
                }
                drop(place);
            });
        }
    }
}

/// Puts a [`Runner`] together.
#[must_use]
pub struct RunnerBuilder {
    queue: Arc<dyn TaskQueue>,
    input: String,
    registry: Registry,
    settings: RunnerSettings,
    status: Arc<dyn StatusSource>,
    signals: Option<Signals>,
    clock: Option<Arc<dyn Clock>>,
    ids: Arc<dyn IdSource>,
}

impl RunnerBuilder {
    /// Has tasks of the worker's kind performed by it; the last worker of a kind wins.
    pub fn register(mut self, worker: impl Worker) -> Self {
        self.registry.add(worker);
        self
    }

    /// Replaces all settings. Set single ones afterwards.
    pub fn settings(mut self, settings: RunnerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// How many tasks run at once.
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.settings.concurrency = NonZeroUsize::new(tasks).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// How many deliveries may be in hand; see [`prefetch`](field@RunnerSettings::prefetch).
    pub fn prefetch(mut self, deliveries: u16) -> Self {
        self.settings.prefetch = NonZeroU16::new(deliveries);
        self
    }

    /// Whom to ask whether a job is still wanted; answers are cached. Without it every task runs.
    pub fn status(mut self, source: impl StatusSource) -> Self {
        self.status = Arc::new(source);
        self
    }

    /// The signals of an engine in this process: running tasks learn at once that their job was cancelled or deleted, by
    /// itself and not among many, instead of at the next look at the status. [`Engine::runner`](crate::Engine::runner) passes its own.
    pub fn signals(mut self, signals: Signals) -> Self {
        self.signals = Some(signals);
        self
    }

    /// The name and version that messages are signed with.
    pub fn signed(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.settings.name = Some(name.into());
        self.settings.version = Some(version.into());
        self
    }

    /// Another clock than the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Another source of ids than the random one.
    pub fn ids(mut self, ids: Arc<dyn IdSource>) -> Self {
        self.ids = ids;
        self
    }

    /// The runner, not running yet.
    ///
    /// # Errors
    /// When no worker was registered or the queue has no name.
    pub fn build(self) -> Result<Runner> {
        if self.registry.is_empty() {
            return Err(Error::invalid("a runner needs at least one worker"));
        }
        if self.input.is_empty() {
            return Err(Error::invalid("a runner needs the name of the queue to consume"));
        }
        let Self { queue, input, registry, settings, status, signals, clock, ids } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let in_process = status.is_in_process();
        let coalesce = settings.coalesce_reports.unwrap_or(in_process);
        let report_buffer = settings.report_buffer.get();
        let style = Style {
            name: settings.name.clone(),
            version: settings.version.clone(),
            context_key: settings.context_key.clone(),
            report_buffer: if coalesce { report_buffer.max(REPORT_BUFFER_IN_PROCESS) } else { report_buffer },
            zero_progress: settings.zero_progress.unwrap_or(!in_process),
        };
        let finisher = Finisher::new(Arc::clone(&queue), Arc::clone(&clock), Arc::clone(&ids));
        let station = Station {
            input,
            queue,
            status: Arc::new(CachedStatus::new(status, Arc::clone(&clock))),
            signals,
            clock,
            ids,
            registry,
            settings,
            style: Arc::new(style),
            coalesce,
            counters: Arc::default(),
            finisher: Arc::new(finisher),
            running: Shutdown::new(),
        };
        Ok(Runner { station: Arc::new(station) })
    }
}

impl fmt::Debug for RunnerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunnerBuilder")
            .field("input", &self.input)
            .field("registry", &self.registry)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
