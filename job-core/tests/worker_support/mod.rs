//! A queue that writes down, in order, what a runner publishes and settles.
#![allow(dead_code, unreachable_pub, clippy::allow_attributes, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use job_core::clock::{ManualClock, SequentialIds};
use job_core::message::{
    JOB_TRACKING_CLASSIFIER, TRACKING_REPORT_CLASSIFIER, TaskMessage, TrackingInfo, TrackingReportTask,
};
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Publication, PublishOutcome, Settle, Settlement, TaskQueue,
};
use job_core::worker::{Runner, RunnerBuilder, RunnerMonitor, TaskContext, Worker, WorkerResult};
use job_core::{ClockExt, Error, Result, Shutdown, SystemClock, Timestamp};
use job_queue_memory::MemoryQueue;
use tokio::sync::watch;

pub const PIPE: &str = "jobtracking-in";
pub const INPUT: &str = "work-in";

/// What is to be done with the next messages to a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Refuse,
    Unroutable,
}

/// A queue in memory that keeps a log: `queue taskId STATUS` for a message, `queue [id Status ...]` for reports,
/// `queue id 40%` for a percentage, and `Ack`, `Requeue` or `Reject`.
#[derive(Debug)]
pub struct Recorder {
    inner: MemoryQueue,
    log: Arc<watch::Sender<Vec<String>>>,
    published: Mutex<Vec<Publication>>,
    trouble: Mutex<HashMap<String, (Trouble, usize)>>,
    tags: AtomicU64,
}

impl Recorder {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryQueue::new(),
            log: Arc::new(watch::Sender::default()),
            published: Mutex::default(),
            trouble: Mutex::default(),
            tags: AtomicU64::new(0),
        })
    }

    /// The next `times` messages to `queue` meet this trouble.
    pub fn disturb(&self, queue: &str, trouble: Trouble, times: usize) {
        self.trouble.lock().unwrap().insert(queue.to_owned(), (trouble, times));
    }

    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// Everything published so far to `queue`.
    pub fn published(&self, queue: &str) -> Vec<Publication> {
        self.published.lock().unwrap().iter().filter(|message| message.queue == queue).cloned().collect()
    }

    /// Puts a message on its queue without writing it down.
    pub async fn put(&self, publication: Publication) {
        let outcomes = self.inner.publish(vec![publication]).await.unwrap();
        assert_eq!(outcomes, [PublishOutcome::Confirmed]);
    }

    pub async fn put_task(&self, message: &TaskMessage) {
        self.put(Publication::new(INPUT, message.encode())).await;
    }

    /// Waits until the log is as it should be.
    pub async fn until(&self, what: &str, is_so: impl FnMut(&Vec<String>) -> bool + Send) -> Vec<String> {
        let mut log = self.log.subscribe();
        let waited = within(async { log.wait_for(is_so).await.unwrap().clone() }).await;
        waited.unwrap_or_else(|| panic!("waited in vain for {what}; the log is {:#?}", self.log()))
    }

    pub async fn until_settled(&self, count: usize) -> Vec<String> {
        self.until("settlements", |log| settlements(log) >= count).await
    }

    fn write(&self, line: String) {
        self.log.send_modify(|log| log.push(line));
    }

    fn trouble_with(&self, queue: &str) -> Option<Trouble> {
        let mut trouble = self.trouble.lock().unwrap();
        let (kind, left) = trouble.get_mut(queue)?;
        if *left == 0 {
            return None;
        }
        *left -= 1;
        Some(*kind)
    }
}

pub fn settlements(log: &[String]) -> usize {
    log.iter().filter(|line| matches!(line.as_str(), "Ack" | "Requeue" | "Reject")).count()
}

/// Waits for `future`, not for ever.
pub async fn within<T: Send>(future: impl Future<Output = T> + Send) -> Option<T> {
    SystemClock::new().timeout(Duration::from_secs(20), future).await.ok()
}

fn describe(publication: &Publication) -> String {
    let queue = &publication.queue;
    let Ok(message) = TaskMessage::decode(&publication.body) else {
        return format!("{queue} unreadable");
    };
    let data = message.task_data.unwrap_or_default();
    match message.task_classifier.as_deref() {
        Some(TRACKING_REPORT_CLASSIFIER) => {
            let entries = TrackingReportTask::decode_entries(&data).unwrap();
            let entries: Vec<String> = entries
                .into_iter()
                .map(|entry| {
                    let entry = entry.unwrap();
                    format!("{} {:?}", entry.job_task_id, entry.status)
                })
                .collect();
            format!("{queue} [{}]", entries.join(", "))
        }
        Some(JOB_TRACKING_CLASSIFIER) => {
            let task: serde_json::Value = serde_json::from_slice(&data).unwrap();
            let id = task["jobTaskId"].as_str().unwrap();
            format!("{queue} {id} {}%", task["estimatedPercentageCompleted"])
        }
        _ => format!("{queue} {} {}", message.task_id, message.task_status.unwrap().as_str()),
    }
}

#[async_trait]
impl TaskQueue for Recorder {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        let mut outcomes = Vec::new();
        for message in messages {
            match self.trouble_with(&message.queue) {
                Some(Trouble::Refuse) => {
                    self.write(format!("{} refuses", message.queue));
                    outcomes.push(PublishOutcome::Refused { reason: "full".into() });
                }
                Some(Trouble::Unroutable) => {
                    self.write(format!("{} is missing", message.queue));
                    outcomes.push(PublishOutcome::Unroutable);
                }
                None => {
                    self.published.lock().unwrap().push(message.clone());
                    self.write(describe(&message));
                    outcomes.extend(self.inner.publish(vec![message]).await?);
                }
            }
        }
        Ok(outcomes)
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        let settle = Arc::new(Recorded { log: Arc::clone(&self.log), held: Mutex::default() });
        let first = self.tags.fetch_add(1 << 32, Ordering::SeqCst);
        let deliveries = self.inner.consume(queue, options).await?.enumerate();
        Ok(Consumer::new(deliveries.map(move |(index, delivery)| {
            let tag = first + index as u64;
            let copy = Delivery::new(
                delivery.queue.clone(),
                delivery.body.clone(),
                delivery.headers.clone(),
                delivery.redeliveries,
                Arc::<Recorded>::clone(&settle),
                tag,
            )
            .with_message_id(delivery.message_id.clone());
            settle.held.lock().unwrap().insert(tag, delivery);
            copy
        })))
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        self.inner.declare(queue).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        self.inner.depth(queue).await
    }

    fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct Recorded {
    log: Arc<watch::Sender<Vec<String>>>,
    held: Mutex<HashMap<u64, Delivery>>,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorded")
    }
}

#[async_trait]
impl Settle for Recorded {
    async fn settle(&self, tags: &[u64], settlement: Settlement) -> Result<()> {
        let deliveries: Vec<Delivery> = {
            let mut held = self.held.lock().unwrap();
            tags.iter().filter_map(|tag| held.remove(tag)).collect()
        };
        if deliveries.len() != tags.len() {
            return Err(Error::unavailable("settled twice"));
        }
        // First done, then written down: whoever waits for the line may look at the queue.
        Delivery::settle_all(deliveries, settlement).await?;
        self.log.send_modify(|log| log.extend(tags.iter().map(|_| format!("{settlement:?}"))));
        Ok(())
    }

    fn abandon(&self, tag: u64) {
        drop(self.held.lock().unwrap().remove(&tag));
        self.log.send_modify(|log| log.push("dropped".to_owned()));
    }
}

/// A worker made of a closure.
pub struct Does<F>(pub F);

impl<F> Worker for Does<F>
where
    F: for<'a> Fn(serde_json::Value, &'a TaskContext) -> futures::future::BoxFuture<'a, WorkerResult>
        + Send
        + Sync
        + 'static,
{
    type Task = serde_json::Value;
    const KIND: &'static str = "Work";
    const API_VERSION: i32 = 2;

    fn run(
        &self,
        task: serde_json::Value,
        context: &TaskContext,
    ) -> impl Future<Output = WorkerResult> + Send {
        (self.0)(task, context)
    }
}

/// Lets the compiler see that a closure fits [`Does`].
pub fn does<F>(run: F) -> Does<F>
where
    F: for<'a> Fn(serde_json::Value, &'a TaskContext) -> futures::future::BoxFuture<'a, WorkerResult>
        + Send
        + Sync
        + 'static,
{
    Does(run)
}

/// A tracked task for the [`Does`] worker.
pub fn task(id: &str) -> TaskMessage {
    let mut message = TaskMessage::new_task("T", "Work", 1, &b"{}"[..], INPUT);
    message.tracking = Some(TrackingInfo {
        job_task_id: Some(id.to_owned()),
        last_status_check_time: Some(Timestamp::from_millis(1_000_000)),
        status_check_interval_millis: 5_000,
        status_check_url: None,
        tracking_pipe: Some(PIPE.into()),
        track_to: Some("out".into()),
    });
    message
}

/// A runner at work.
pub struct Running {
    pub queue: Arc<Recorder>,
    pub monitor: RunnerMonitor,
    pub shutdown: Shutdown,
}

impl Running {
    pub fn start(queue: &Arc<Recorder>, set_up: impl FnOnce(RunnerBuilder) -> RunnerBuilder) -> Self {
        let builder = Runner::builder(Arc::<Recorder>::clone(queue), INPUT);
        let runner = set_up(builder.ids(Arc::new(SequentialIds::default()))).build().unwrap();
        let (monitor, shutdown) = (runner.monitor(), Shutdown::new());
        runner.start(&shutdown);
        Self { queue: Arc::clone(queue), monitor, shutdown }
    }

    /// Stops while time passes, for tasks that cannot end before their time is over.
    pub async fn stop_in_time(&self, clock: &ManualClock) {
        let mut stopping = pin!(self.stop());
        while futures::poll!(&mut stopping).is_pending() {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    }

    pub async fn stop(&self) {
        assert!(self.shutdown.drain(&SystemClock::new(), Duration::from_secs(20)).await, "the runner hangs");
    }
}
