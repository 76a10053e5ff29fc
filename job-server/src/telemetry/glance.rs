//! What is looked up when somebody asks for metrics: the store at a glance, the tracking queue, the checks.

use std::sync::Arc;
use std::time::Duration;

use job_core::queue::TaskQueue;
use job_core::store::{JobStore, Overview};
use job_core::{Clock, ClockExt, JobStatus, Shutdown, Timestamp};
use metrics::gauge;
use tokio::sync::Mutex;

use crate::health::{CheckResult, Health};
use crate::memory_use;

/// How long a look at the backends is good for, however many ask.
const FRESH: Duration = Duration::from_secs(5);
/// A backend that takes longer has nothing to show this time.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks.
#[derive(Debug)]
pub(crate) struct Glance {
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    tracking_queue: String,
    clock: Arc<dyn Clock>,
    /// Looks run as tasks of their own, so that giving up on one does not cut off a call to a backend.
    tasks: Shutdown,
    last: Mutex<Option<Timestamp>>,
}

impl Glance {
    pub(crate) fn new(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        tracking_queue: String,
        clock: Arc<dyn Clock>,
        tasks: Shutdown,
    ) -> Self {
        Self { store, queue, tracking_queue, clock, tasks, last: Mutex::new(None) }
    }

    /// Sets the gauges. Those of a backend that does not answer become `NaN`: an old figure would look like a true one.
    pub(crate) async fn refresh(&self, health: &Health) {
        show_checks(&health.results().await);
        if let Some(bytes) = memory_use::resident_bytes() {
            set("process_resident_memory_bytes", Some(bytes));
        }
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        if last.is_some_and(|at| now.since(at) < FRESH) {
            return;
        }
        let (store, queue, name) =
            (Arc::clone(&self.store), Arc::clone(&self.queue), self.tracking_queue.clone());
        let (overview, depth) = tokio::join!(
            self.run(async move { store.overview(now).await.ok() }),
            self.run(async move { queue.depth(&name).await.ok() }),
        );
        show_overview(overview.as_ref(), now);
        set("job_service_tracker_queue_messages", depth.map(|depth| depth.unwrap_or(0)));
        *last = Some(now);
    }

    async fn run<T: Send + 'static>(
        &self,
        look: impl Future<Output = Option<T>> + Send + 'static,
    ) -> Option<T> {
        self.clock.timeout(PATIENCE, self.tasks.spawn(look)).await.ok()?.ok()?
    }
}

fn show_checks(results: &[CheckResult]) {
    for result in results {
        gauge!("job_service_check_healthy", "check" => result.name)
            .set(f64::from(u8::from(result.is_healthy())));
    }
}

fn show_overview(overview: Option<&Overview>, now: Timestamp) {
    for status in JobStatus::ALL {
        let jobs = overview.map(|overview| overview.jobs.get(&status).copied().unwrap_or(0));
        gauge!("job_service_jobs", "status" => status.to_string().to_lowercase()).set(number(jobs));
    }
    set("job_service_outbox_due_messages", overview.map(|overview| overview.due));
    set("job_service_outbox_failing_messages", overview.map(|overview| overview.failing));
    let age = |overview: &Overview| overview.oldest_due.map_or(0.0, |due| now.since(due).as_secs_f64());
    gauge!("job_service_outbox_oldest_due_age_seconds").set(overview.map_or(f64::NAN, age));
    let connections = overview.and_then(|overview| overview.connections);
    for (state, count) in
        [("used", connections.map(|all| all.used)), ("idle", connections.map(|all| all.idle))]
    {
        let count = count.or_else(|| overview.map(|_| 0)).map(u64::from);
        gauge!("job_service_store_connections", "state" => state).set(number(count));
    }
    let max = connections.map(|all| all.max).or_else(|| overview.map(|_| 0));
    set("job_service_store_connections_max", max.map(u64::from));
}

fn set(name: &'static str, value: Option<u64>) {
    gauge!(name).set(number(value));
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn number(value: Option<u64>) -> f64 {
    value.map_or(f64::NAN, |value| value as f64)
}
