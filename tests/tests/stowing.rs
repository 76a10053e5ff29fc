//! The paused queue: what the store cannot keep is answered, and keeps nothing else waiting.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_core::message::{TaskMessage, TaskStatus, TrackingInfo};
use job_core::queue::{ConsumeOptions, Delivery, Publication, TaskQueue};
use job_core::store::{Action, JobStore};
use job_core::stower::{Stower, StowerCounts, StowerSettings};
use job_core::{ClockExt as _, JobKey, JobService, NewJob, Shutdown, TaskSpec};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;

const PAUSED: &str = "paused-in";
const PATIENCE: Duration = Duration::from_secs(30);

struct Bench {
    /// As the stower sees it.
    store: Arc<FaultyStore>,
    queue: Arc<MemoryQueue>,
    service: JobService,
}

impl Bench {
    fn new(faults: StoreFaults) -> Self {
        let healthy: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
        let store = Arc::new(FaultyStore::new(Arc::clone(&healthy), faults, 1));
        let service = JobService::new(healthy);
        Self { store, queue: Arc::new(MemoryQueue::new()), service }
    }

    async fn paused(&self, names: &[&str]) {
        for name in names {
            let task = TaskSpec::json("W", "w-in", &()).unwrap();
            self.service.create(NewJob::new(key(name), task)).await.unwrap();
            self.service.act(&key(name), Action::Pause).await.unwrap();
        }
    }

    async fn send(&self, jobs: &[&str]) {
        for (number, job) in jobs.iter().enumerate() {
            let mut message = TaskMessage::new_task(number.to_string(), "W", 1, Bytes::new(), "w-in");
            message.tracking = Some(TrackingInfo {
                job_task_id: Some(format!("p:{job}.1")),
                last_status_check_time: None,
                status_check_interval_millis: 0,
                status_check_url: None,
                tracking_pipe: None,
                track_to: None,
            });
            self.queue.publish(vec![Publication::new(PAUSED, message.encode())]).await.unwrap();
        }
    }

    /// Lets a stower work until it has done this.
    async fn stow_until(&self, expected: StowerCounts) {
        let shutdown = Shutdown::new();
        let stower = Stower::new(
            Arc::clone(&self.store) as Arc<dyn JobStore>,
            Arc::clone(&self.queue) as Arc<dyn TaskQueue>,
            Arc::clone(self.service.clock()),
            self.service.signals().clone(),
            StowerSettings::new(PAUSED),
        );
        let mut counts = stower.counts();
        shutdown.spawn(stower.run(shutdown.child()));
        let done = async { counts.wait_for(|counts| *counts == expected).await.map(|_| ()) };
        let done = self.service.clock().timeout(PATIENCE, done).await;
        assert!(shutdown.drain(self.service.clock().as_ref(), PATIENCE).await);
        assert!(done.is_ok(), "{:?}", counts.borrow());
        assert_eq!(self.queue.depth(PAUSED).await.unwrap(), Some(0), "nothing came back");
    }

    /// What the error queue was told of each message.
    async fn answers(&self) -> Vec<(String, String)> {
        let queue = StowerSettings::new(PAUSED).error_queue;
        let waiting = self.queue.depth(&queue).await.unwrap().unwrap_or(0);
        let consumer = self.queue.consume(&queue, ConsumeOptions { prefetch: 100 }).await.unwrap();
        let deliveries: Vec<Delivery> = consumer.take(usize::try_from(waiting).unwrap()).collect().await;
        let read = |delivery: Delivery| {
            let answer = TaskMessage::decode(&delivery.body).unwrap();
            assert_eq!(answer.task_status, Some(TaskStatus::ResultFailure));
            (answer.task_id, String::from_utf8(answer.task_data.unwrap().to_vec()).unwrap())
        };
        let mut answers: Vec<_> = deliveries.into_iter().map(read).collect();
        answers.sort();
        answers
    }
}

fn key(name: &str) -> JobKey {
    JobKey::parse("p", name).unwrap()
}

#[tokio::test]
async fn messages_of_a_damaged_job_are_answered_and_all_others_kept() {
    let bench = Bench::new(StoreFaults::default());
    bench.paused(&["healthy", "damaged"]).await;
    bench.store.damage(key("damaged"));
    bench.send(&["healthy", "damaged", "gone", "damaged", "healthy"]).await;
    bench.stow_until(StowerCounts { kept: 2, dropped: 1, refused: 2 }).await;
    let reason = "\"Unable to stow task(s). Failed to write to database. injected: it makes no sense\"";
    let expected = ["1", "3"].map(|id| (id.to_owned(), reason.to_owned()));
    assert_eq!(bench.answers().await, expected);
}

/// Whichever message it is that the store refuses, and although it does not say which.
#[tokio::test]
async fn messages_that_the_store_refuses_are_found_and_all_others_kept() {
    for place in 0..7 {
        let bench = Bench::new(StoreFaults::default());
        bench.paused(&["healthy", "refused"]).await;
        bench.store.refuse(key("refused"));
        let jobs: Vec<&str> = (0..7).map(|n| if n == place { "refused" } else { "healthy" }).collect();
        bench.send(&jobs).await;
        bench.stow_until(StowerCounts { kept: 6, dropped: 0, refused: 1 }).await;
        let [(id, reason)] = bench.answers().await.try_into().unwrap();
        assert_eq!(id, place.to_string());
        assert!(reason.contains("injected: the store does not take it"), "{reason}");
    }
}

/// A store that is away has refused nothing.
#[tokio::test]
async fn messages_are_handed_back_while_the_store_is_away() {
    let bench = Bench::new(StoreFaults { fail_before: 500, ..StoreFaults::default() });
    bench.paused(&["healthy"]).await;
    // As many times as it takes to meet a fault, which each call does or does not.
    for _ in 0..100 {
        bench.send(&["healthy", "gone"]).await;
        bench.stow_until(StowerCounts { kept: 1, dropped: 1, refused: 0 }).await;
        if bench.store.counts().failed_before > 0 {
            break;
        }
    }
    assert_eq!(bench.answers().await, []);
    assert!(bench.store.counts().failed_before > 0);
}
