//! What a demo plays on: an engine with its API on a free loopback port, workers beside it, and a client.
#![expect(clippy::print_stdout, reason = "the demo speaks to whoever started it")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use job_core::queue::TaskQueue;
use job_core::store::JobStore;
use job_core::worker::{RunnerBuilder, RunnerMonitor, RunnerSettings};
use job_core::{Clock, Engine, Shutdown, SystemClock};
use job_queue_amqp::AmqpQueue;

use super::DemoArgs;
use super::client::Client;
use super::observed_job::{Fall, ObservedJob};
use super::screen::Screen;
use crate::backends::{broker_at, database_at, open_database};
use crate::{App, Config};

/// The partition of all jobs of the demo.
const PARTITION: &str = "demo";
/// How often the API is asked for progress.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long an interrupted demo waits for its tasks: nothing of it outlives the process.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Opens the store that `args` name; `None` when nothing is to outlive the process.
pub(super) async fn open_store(args: &DemoArgs) -> anyhow::Result<Option<Arc<dyn JobStore>>> {
    match database_at(&args.store)? {
        None => Ok(None),
        Some(database) => open_database(database).await.map(Some),
    }
}

/// Opens the broker that `args` name; `None` when messages are to stay in the process.
pub(super) fn open_queue(args: &DemoArgs) -> anyhow::Result<Option<Arc<dyn TaskQueue>>> {
    let broker = broker_at(&args.queue)?;
    Ok(broker.map(|broker| Arc::new(AmqpQueue::start(&broker)) as Arc<dyn TaskQueue>))
}

/// A running engine and its API.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    serving: tokio::task::JoinHandle<bool>,
    shutdown: Shutdown,
}

impl Stage {
    /// Starts everything on a store and a queue; `workers` says who works beside the engine.
    pub(super) async fn start(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        workers: impl FnOnce(&Engine) -> job_core::Result<()>,
    ) -> anyhow::Result<Self> {
        // Not the queues of a server on the same broker.
        let config = Config {
            tracking_queue: "demo-tracking-in".to_owned(),
            paused_queue: "demo-paused-in".to_owned(),
            ..Config::default()
        };
        let app = App::build(config, store, queue).await?;
        workers(app.engine()).context("the workers could not be started")?;
        let address = app.address().context("the demo needs the API")?;
        let shutdown = Shutdown::new();
        let serving = Shutdown::new().spawn(app.run(shutdown.clone()));
        let clock = Arc::new(SystemClock::new());
        Ok(Self { client: Client::new(address, PARTITION), clock, serving, shutdown })
    }

    /// A job to watch, of which nothing is known yet.
    pub(super) fn observed(&self, id: &'static str) -> ObservedJob {
        ObservedJob::new(id, self.clock.now())
    }

    /// Shows jobs until all of them are over.
    pub(super) async fn watch(
        &self,
        jobs: Vec<ObservedJob>,
        note: impl Fn(&ObservedJob) -> String,
    ) -> anyhow::Result<Watched> {
        let mut watched = Watched { jobs, falls: Vec::new() };
        let mut screen = Screen::new(&watched.jobs);
        loop {
            for (at, job) in watched.jobs.iter_mut().enumerate() {
                let answer = self.client.job(job.id).await?;
                watched.falls.extend(job.observe(answer, self.clock.now()));
                screen.show(at, job, &note(job));
            }
            let now = self.clock.now();
            if watched.jobs.iter().all(|job| job.is_over(now)) {
                screen.finish();
                return Ok(watched);
            }
            self.clock.sleep(LOOK_INTERVAL).await;
        }
    }

    /// Leaves everything as it is until `interrupt` stops.
    pub(super) async fn serve_on(&self, interrupt: &Shutdown) {
        println!("\nThe API is still up at {}; Ctrl-C stops it.", self.client.jobs_url());
        interrupt.stopping().await;
    }

    /// Stops the API, the workers and the engine; answers whether everything in hand was finished.
    pub(super) async fn stop(self) -> bool {
        self.shutdown.stop();
        self.serving.await.unwrap_or(false)
    }
}

/// Jobs as they were at the end.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) jobs: Vec<ObservedJob>,
    /// Progress that went backwards on the way.
    pub(super) falls: Vec<Fall>,
}

impl Watched {
    pub(super) fn job(&self, id: &str) -> Option<&ObservedJob> {
        self.jobs.iter().find(|job| job.id == id)
    }
}

/// Builds a runner for `queue` and has the engine host it.
pub(super) fn host(
    engine: &Engine,
    queue: &str,
    concurrency: usize,
    register: impl FnOnce(RunnerBuilder) -> RunnerBuilder,
) -> job_core::Result<RunnerMonitor> {
    let settings = RunnerSettings { drain_limit: DRAIN_LIMIT, ..RunnerSettings::default() };
    let builder = engine.runner(queue).settings(settings).concurrency(concurrency);
    Ok(engine.host(register(builder).build()?))
}
