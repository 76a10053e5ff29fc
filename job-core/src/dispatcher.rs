//! From the outbox to the queue: the only code that starts tasks.
//!
//! Claim under a lease, publish with confirms, settle. A crash in between publishes again when the lease ends: at least
//! once, never zero. Any number of dispatchers may run on one store.

mod wake_queue;

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tracing::Instrument as _;

use crate::backoff::Backoff;
use crate::clock::{Clock, ClockExt, Timestamp};
use crate::error::{Error, Result};
use crate::id::{JobKey, JobTaskId};
use crate::message::{TaskMessage, TrackingInfo};
use crate::queue::{Headers, Publication, PublishOutcome, TaskQueue};
use crate::shutdown::Shutdown;
use crate::signals::Signals;
use crate::store::{ClaimRequest, Claimed, JobStore, LeaseOwner, OutboxContent, OutboxEntry, Settled};
use crate::telemetry;
use crate::trace::{TRACEPARENT, TraceContext};
use wake_queue::WakeQueue;

/// The first batch after a rest is so many times smaller than others, and the next ones grow: the queue has nothing to do until
/// it is taken.
const FIRST_BATCH: u32 = 4;
/// Batches that are published or settled at the same time.
const IN_HAND_MAX: usize = 2;

/// How a dispatcher works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DispatcherSettings {
    /// How many entries are taken at once, at most: the first batch after a rest is a quarter of that.
    pub batch_size: u32,
    /// No more are taken at once when their messages have this many bytes. Up to two batches are held in memory.
    pub batch_bytes: usize,
    /// How long a batch may take before others may publish its entries again.
    pub lease: Duration,
    /// How often to look when nobody wakes it: what another process' create costs in latency.
    pub poll_interval: Duration,
    /// A queue on which any message at all means: look now (`CAF_SCHEDULER_INPUT_QUEUE`).
    pub wake_queue: Option<String>,
    /// What goes into the messages.
    pub tracking: TrackingSettings,
}

impl Default for DispatcherSettings {
    fn default() -> Self {
        Self {
            batch_size: 2_000,
            batch_bytes: 16 * 1024 * 1024,
            lease: Duration::from_secs(30),
            poll_interval: Duration::from_millis(500),
            wake_queue: None,
            tracking: TrackingSettings::default(),
        }
    }
}

/// What a first task message tells its worker about tracking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackingSettings {
    /// The queue for reports.
    pub tracking_queue: String,
    /// Base of the URL where workers ask for the job's status, such as `http://host:8080/job-service/v1`; none when they
    /// cannot ask over HTTP.
    pub service_url: Option<String>,
    /// What lets workers ask where askers have to say who they are; none where anybody may ask.
    pub status_capability: Option<StatusCapability>,
    /// The least time between two such questions.
    pub status_check_interval: Duration,
}

/// Makes the proof that a status URL carries in its query: that its bearer may read the status of that one job.
///
/// Workers open the URL as it is and send nothing else, so the proof has to travel in it.
#[derive(Clone)]
pub struct StatusCapability(Arc<dyn Fn(&JobKey) -> String + Send + Sync>);

impl StatusCapability {
    /// `query` answers the URL's query for a job, already encoded, such as `c=MAC`.
    #[must_use]
    pub fn new(query: impl Fn(&JobKey) -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(query))
    }

    /// The query for `job`.
    #[must_use]
    pub fn query(&self, job: &JobKey) -> String {
        (self.0)(job)
    }
}

impl fmt::Debug for StatusCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StatusCapability")
    }
}

impl PartialEq for StatusCapability {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for StatusCapability {}

impl Default for TrackingSettings {
    fn default() -> Self {
        Self {
            tracking_queue: "jobtracking-in".to_owned(),
            service_url: None,
            status_capability: None,
            status_check_interval: Duration::from_secs(5),
        }
    }
}

/// Publishes what the outbox holds.
#[derive(Debug)]
pub struct Dispatcher {
    store: Arc<dyn JobStore>,
    queue: Arc<dyn TaskQueue>,
    clock: Arc<dyn Clock>,
    signals: Signals,
    settings: DispatcherSettings,
    owner: LeaseOwner,
}

impl Dispatcher {
    /// `owner` names this dispatcher among all that share the store.
    #[must_use]
    pub fn new(
        store: Arc<dyn JobStore>,
        queue: Arc<dyn TaskQueue>,
        clock: Arc<dyn Clock>,
        signals: Signals,
        owner: LeaseOwner,
        settings: DispatcherSettings,
    ) -> Self {
        Self { store, queue, clock, signals, settings, owner }
    }

    /// Works until stopping is asked for; then finishes the batch in hand and returns.
    pub async fn run(self, shutdown: Shutdown) {
        match &self.settings.wake_queue {
            Some(wake_queue) => {
                let listener = WakeQueue {
                    name: wake_queue,
                    queue: self.queue.as_ref(),
                    clock: self.clock.as_ref(),
                    signals: &self.signals,
                };
                tokio::join!(self.dispatch(&shutdown), listener.listen(&shutdown));
            }
            None => self.dispatch(&shutdown).await,
        }
    }

    async fn dispatch(&self, shutdown: &Shutdown) {
        let mut failures = 0;
        while !shutdown.is_stopping() {
            let wait = match self.dispatch_until(shutdown).await {
                Ok(step) => {
                    failures = 0;
                    let until_due = step.next_due.map(|due| due.since(self.clock.now()));
                    until_due.unwrap_or(self.settings.poll_interval).min(self.settings.poll_interval)
                }
                Err(error) => {
                    let wait = Backoff::RECONNECT.wait(failures, self.owner.as_u64_pair().0);
                    failures = failures.saturating_add(1);
                    tracing::warn!(%error, retry_ms = wait.as_millis(), "dispatching failed");
                    wait
                }
            };
            tokio::select! {
                () = shutdown.stopping() => {}
                // Also with a wait of zero: an entry that is due but cannot be taken must not become a busy loop.
                _ = self.clock.timeout(wait.max(Duration::from_millis(1)), self.signals.due()) => {}
            }
        }
    }

    /// Takes batches until there is nothing more, or until stopping is asked for. Two are in hand at most, since a lease is short:
    /// while the queue has not answered for one, or it is settled, the next is taken, written and published. Whatever fails,
    /// nothing more is taken, what was taken is published, and what was published is settled: nobody else publishes it before
    /// its lease ends.
    async fn dispatch_until(&self, shutdown: &Shutdown) -> Result<DispatchStep> {
        let mut limit = self.settings.batch_size.div_ceil(FIRST_BATCH);
        let mut step = DispatchStep { taken: 0, may_be_more: true, next_due: None };
        let mut failure = None;
        let (mut is_taking, mut in_hand) = (true, 0);
        let mut work = FuturesUnordered::new();
        work.push(self.take(limit).boxed());
        while let Some(event) = work.next().await {
            match event {
                Event::Taken(batch) => {
                    is_taking = false;
                    step = self.step(&batch);
                    if !batch.entries.is_empty() {
                        in_hand += 1;
                        work.push(self.send(batch).boxed());
                    }
                }
                Event::Settled => in_hand -= 1,
                Event::Failed(error) => note(&mut failure, error),
            }
            let goes_on = step.may_be_more && failure.is_none() && !shutdown.is_stopping();
            if goes_on && !is_taking && in_hand < IN_HAND_MAX {
                limit = limit.saturating_mul(2).min(self.settings.batch_size);
                is_taking = true;
                work.push(self.take(limit).boxed());
            }
        }
        failure.map_or(Ok(step), Err)
    }

    async fn take(&self, limit: u32) -> Event {
        self.claim(limit).await.map_or_else(Event::Failed, Event::Taken)
    }

    async fn send(&self, batch: Batch) -> Event {
        let published = self.publish(batch).await;
        self.settle(published).await.map_or_else(Event::Failed, |()| Event::Settled)
    }

    /// Takes one batch of due entries, publishes and settles it.
    ///
    /// # Errors
    /// The store's; entries that were published but not settled are published again when their lease ends.
    pub async fn dispatch_due(&self) -> Result<DispatchStep> {
        let batch = self.claim(self.settings.batch_size).await?;
        let step = self.step(&batch);
        self.settle(self.publish(batch).await).await?;
        Ok(step)
    }

    async fn claim(&self, limit: u32) -> Result<Batch> {
        let request = ClaimRequest {
            owner: self.owner,
            now: self.clock.now(),
            lease: self.settings.lease,
            limit,
            bytes_limit: self.settings.batch_bytes,
        };
        let Claimed { entries, next_due } = self.store.claim(request).await?;
        let now = self.clock.now();
        let message = |entry| publication(entry, &self.settings.tracking, now);
        let (entries, publications) = entries.into_iter().map(message).unzip();
        Ok(Batch { entries, publications, next_due })
    }

    fn step(&self, batch: &Batch) -> DispatchStep {
        let taken = batch.entries.len();
        DispatchStep {
            taken,
            may_be_more: taken > 0 && batch.next_due.is_some_and(|due| due <= self.clock.now()),
            next_due: batch.next_due,
        }
    }

    async fn settle(&self, published: Vec<(u64, Settled)>) -> Result<()> {
        if published.is_empty() {
            return Ok(());
        }
        self.store.settle(self.owner, published, self.clock.now()).await.map(drop)
    }

    async fn publish(&self, batch: Batch) -> Vec<(u64, Settled)> {
        // Mostly nothing is due, and that is not worth a span.
        if batch.entries.is_empty() {
            return Vec::new();
        }
        let span = tracing::debug_span!("dispatch", messages = batch.entries.len());
        self.publish_all(batch).instrument(span).await
    }

    async fn publish_all(&self, Batch { entries, publications, .. }: Batch) -> Vec<(u64, Settled)> {
        // When nobody can publish it is no entry's fault: none waits longer than it takes to look again.
        let outcomes = match self.queue.publish(publications).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                tracing::warn!(%error, messages = entries.len(), "messages could not be published");
                let refused = PublishOutcome::Refused { reason: error.message().to_owned() };
                telemetry::dispatched(&vec![refused; entries.len()]);
                let settled = |entry| self.failed(entry, error.message().to_owned(), Backoff::RECONNECT);
                return entries.iter().map(|entry| (entry.id, settled(entry))).collect();
            }
        };
        telemetry::dispatched(&outcomes);
        entries
            .iter()
            .zip(outcomes)
            .map(|(entry, outcome)| (entry.id, self.settled(entry, outcome)))
            .collect()
    }

    fn settled(&self, entry: &Leased, outcome: PublishOutcome) -> Settled {
        let reason = match outcome {
            PublishOutcome::Confirmed => return Settled::Published,
            PublishOutcome::Unroutable => "the queue does not exist".to_owned(),
            PublishOutcome::Refused { reason } => reason,
        };
        tracing::warn!(
            job.partition = %entry.job.partition, job.id = %entry.job.job, delivery.attempt = entry.attempts + 1, reason,
            "a message could not be published"
        );
        self.failed(entry, reason, Backoff::DISPATCH)
    }

    fn failed(&self, entry: &Leased, reason: String, backoff: Backoff) -> Settled {
        let retry_at = self.clock.now().saturating_add(backoff.wait(entry.attempts, entry.id));
        Settled::Failed { retry_at, reason }
    }
}

/// Keeps the last failure to be answered; one before it is only written down.
fn note(failure: &mut Option<Error>, error: Error) {
    if let Some(earlier) = failure.replace(error) {
        tracing::warn!(error = %earlier, "dispatching failed in more than one way");
    }
}

/// What one batch was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DispatchStep {
    /// How many entries were taken.
    pub taken: usize,
    /// Whether there may be more right now.
    pub may_be_more: bool,
    /// When to look again at the latest, if that is known.
    pub next_due: Option<Timestamp>,
}

/// What has happened to one of the batches in hand.
enum Event {
    Taken(Batch),
    Settled,
    Failed(Error),
}

/// Entries that were taken together, with the messages that they are published as. Messages are written while the batch before is
/// published, so that the queue does not wait for them.
struct Batch {
    entries: Vec<Leased>,
    publications: Vec<Publication>,
    next_due: Option<Timestamp>,
}

/// What is left of an entry that has become a message.
struct Leased {
    id: u64,
    job: JobKey,
    attempts: u32,
}

fn publication(entry: OutboxEntry, settings: &TrackingSettings, now: Timestamp) -> (Leased, Publication) {
    let OutboxEntry { id, job, content, attempts } = entry;
    let publication = match content {
        OutboxContent::Start { task_id, task, correlation_id } => {
            let message_id = task_id.to_string();
            let mut headers = Headers::new();
            if let Some(correlation_id) = &correlation_id {
                // The task's own id is its place, so that a message that is published again is at the same one.
                let place = TraceContext::of_correlation(correlation_id, task_id);
                headers.insert(TRACEPARENT.to_owned(), place.to_string());
            }
            let queue = task.queue.clone();
            let message = TaskMessage {
                tracking: Some(tracking(&job, task.target, settings, now)),
                correlation_id,
                ..TaskMessage::new_task(
                    message_id.clone(),
                    task.classifier,
                    task.api_version,
                    task.data,
                    task.queue,
                )
            };
            Publication { queue, body: message.encode(), headers, message_id: Some(message_id) }
        }
        OutboxContent::Stowed { queue, body, headers } => {
            Publication { queue, body, headers, message_id: Some(format!("stowed-{id}")) }
        }
    };
    (Leased { id, job, attempts }, publication)
}

/// The tracking information of a job's first message (messaging contract §4.8).
#[must_use]
pub fn tracking(
    job: &JobKey,
    track_to: Option<String>,
    settings: &TrackingSettings,
    now: Timestamp,
) -> TrackingInfo {
    let interval = settings.status_check_interval.as_millis();
    TrackingInfo {
        job_task_id: Some(JobTaskId::of_job(job.clone()).to_string()),
        last_status_check_time: Some(now),
        status_check_interval_millis: i64::try_from(interval).unwrap_or(i64::MAX),
        status_check_url: settings.service_url.as_ref().map(|base| {
            let url = status_check_url(base, job);
            match &settings.status_capability {
                Some(capability) => format!("{url}?{}", capability.query(job)),
                None => url,
            }
        }),
        tracking_pipe: Some(settings.tracking_queue.clone()),
        track_to,
    }
}

fn status_check_url(base: &str, job: &JobKey) -> String {
    let mut url = format!("{}/partitions/", base.trim_end_matches('/'));
    percent_encode(job.partition.as_str(), &mut url);
    url.push_str("/jobs/");
    percent_encode(job.job.as_str(), &mut url);
    url.push_str("/status");
    url
}

/// Everything but RFC 3986's unreserved characters.
fn percent_encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_urls_are_percent_encoded() {
        let job = JobKey::parse("a b", "x{1}/é").unwrap();
        assert_eq!(
            status_check_url("http://h/job-service/v1/", &job),
            "http://h/job-service/v1/partitions/a%20b/jobs/x%7B1%7D%2F%C3%A9/status"
        );
    }

    #[test]
    fn a_capability_travels_in_the_status_url() {
        let settings = TrackingSettings {
            service_url: Some("http://h/v1".to_owned()),
            status_capability: Some(StatusCapability::new(|job| format!("c={}", job.job.as_str().len()))),
            ..TrackingSettings::default()
        };
        let tracking = tracking(&JobKey::parse("p", "four").unwrap(), None, &settings, Timestamp::default());
        assert_eq!(
            tracking.status_check_url.as_deref(),
            Some("http://h/v1/partitions/p/jobs/four/status?c=4")
        );
    }
}
