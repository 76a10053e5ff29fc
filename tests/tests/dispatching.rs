//! From the outbox to the queue, with the clock in our hands.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_conformance::queue::ForwardingQueue;
use job_core::clock::ManualClock;
use job_core::dispatcher::{DispatchStep, Dispatcher, DispatcherSettings, TrackingSettings};
use job_core::message::{TaskMessage, TaskStatus};
use job_core::queue::{ConsumeOptions, Delivery, TaskQueue as _};
use job_core::store::Action;
use job_core::{
    IdSource, JobKey, JobService, JobStatus, NewJob, RandomIds, Shutdown, Signals, SystemClock, TaskSpec,
    Timestamp,
};
use job_queue_memory::{MemoryQueue, MemoryQueueOptions};
use job_store_memory::MemoryStore;
use job_tests::hooked_queue::HookedQueue;
use tokio::sync::Barrier;

struct Bench {
    clock: Arc<ManualClock>,
    queue: Arc<MemoryQueue>,
    service: JobService,
}

impl Bench {
    fn new(options: MemoryQueueOptions) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_732_406_400_000)));
        let queue = Arc::new(MemoryQueue::with_options(options));
        let service = JobService::new(Arc::new(MemoryStore::new())).with_clock(Arc::clone(&clock) as _);
        Self { clock, queue, service }
    }

    fn dispatcher(&self) -> Dispatcher {
        let tracking = TrackingSettings {
            service_url: Some("http://job-service:8080/job-service/v1".to_owned()),
            ..TrackingSettings::default()
        };
        Dispatcher::new(
            Arc::clone(self.service.store()),
            Arc::clone(&self.queue) as _,
            Arc::clone(&self.clock) as _,
            Signals::default(),
            RandomIds.next(),
            DispatcherSettings { tracking, ..DispatcherSettings::default() },
        )
    }

    async fn dispatch(&self) -> DispatchStep {
        self.dispatcher().dispatch_due().await.unwrap()
    }

    async fn create(&self, job: NewJob) -> JobKey {
        let key = job.key.clone();
        self.service.create(job).await.unwrap();
        key
    }

    async fn take(&self, queue: &str) -> Vec<Delivery> {
        let waiting = self.queue.depth(queue).await.unwrap().unwrap_or(0);
        let consumer = self.queue.consume(queue, ConsumeOptions { prefetch: 100 }).await.unwrap();
        consumer.take(usize::try_from(waiting).unwrap()).collect().await
    }
}

fn job(name: &str) -> NewJob {
    let task = TaskSpec { target: Some("w-out".into()), ..TaskSpec::json("W", "w-in", &"payload").unwrap() };
    NewJob::new(JobKey::parse("acme", name).unwrap(), task)
}

#[tokio::test]
async fn the_first_message_is_the_contracts() {
    let bench = Bench::new(MemoryQueueOptions::default());
    let mut wanted = job("j b");
    wanted.correlation_id = Some("c-1".into());
    wanted.task.data = bytes::Bytes::from_static(b"\xff\x00 not text");
    let key = bench.create(wanted).await;
    assert_eq!(bench.dispatch().await.taken, 1);
    let delivery = bench.take("w-in").await.pop().unwrap();
    let message = TaskMessage::decode(&delivery.body).unwrap();
    let expected = format!(
        concat!(
            r#"{{"version":3,"taskId":"{}","taskClassifier":"W","taskApiVersion":1,"taskData":"/wAgbm90IHRleHQ=","#,
            r#""taskStatus":"NEW_TASK","context":{{}},"to":"w-in","tracking":{{"jobTaskId":"acme:j b","#,
            r#""lastStatusCheckTime":1732406400000,"statusCheckIntervalMillis":5000,"#,
            r#""statusCheckUrl":"http://job-service:8080/job-service/v1/partitions/acme/jobs/j%20b/status","#,
            r#""trackingPipe":"jobtracking-in","trackTo":"w-out"}},"sourceInfo":null,"priority":null,"correlationId":"c-1"}}"#,
        ),
        message.task_id
    );
    assert_eq!(String::from_utf8_lossy(&delivery.body), expected);
    assert_eq!(message.task_status, Some(TaskStatus::NewTask));
    let stored = bench.service.get(&key).await.unwrap();
    assert_eq!((stored.status, stored.start_time), (JobStatus::Waiting, Some(bench.service.now())));
}

#[tokio::test]
async fn a_message_the_queue_refuses_is_kept_shown_and_tried_again() {
    let bench = Bench::new(MemoryQueueOptions { declare_on_publish: false, ..MemoryQueueOptions::default() });
    let key = bench.create(job("j")).await;
    bench.dispatch().await;
    let stored = bench.service.get(&key).await.unwrap();
    let problem = stored.dispatch_problem.unwrap();
    assert_eq!((problem.attempts, problem.reason.as_str()), (1, "the queue does not exist"));
    assert_eq!(stored.start_time, None);
    let step = bench.dispatch().await;
    assert_eq!((step.taken, step.next_due), (0, Some(problem.retry_at)));
    bench.queue.declare("w-in").await.unwrap();
    bench.clock.advance(problem.retry_at.since(bench.service.now()));
    assert_eq!(bench.dispatch().await.taken, 1);
    let stored = bench.service.get(&key).await.unwrap();
    assert!(stored.dispatch_problem.is_none() && stored.start_time.is_some());
    assert_eq!(bench.take("w-in").await.len(), 1);
}

#[tokio::test]
async fn a_dispatcher_that_dies_before_it_settles_is_followed_by_the_same_message() {
    let bench = Bench::new(MemoryQueueOptions::default());
    bench.create(job("j")).await;
    let store = bench.service.store();
    let claim = job_core::store::ClaimRequest {
        owner: RandomIds.next(),
        now: bench.service.now(),
        lease: Duration::from_secs(30),
        limit: 10,
        bytes_limit: usize::MAX,
    };
    let lost = store.claim(claim).await.unwrap();
    assert_eq!(lost.entries.len(), 1);
    assert_eq!(bench.dispatch().await.taken, 0, "leased");
    bench.clock.advance(Duration::from_secs(31));
    assert_eq!(bench.dispatch().await.taken, 1);
    let delivery = bench.take("w-in").await.pop().unwrap();
    let job_core::store::OutboxContent::Start { task_id, .. } = &lost.entries[0].content else {
        panic!("a start")
    };
    assert_eq!(TaskMessage::decode(&delivery.body).unwrap().task_id, task_id.to_string());
}

#[tokio::test]
async fn paused_jobs_are_held_and_cancelled_ones_forgotten() {
    let bench = Bench::new(MemoryQueueOptions::default());
    let paused = bench.create(job("paused")).await;
    let cancelled = bench.create(job("cancelled")).await;
    bench.service.act(&paused, Action::Pause).await.unwrap();
    bench.service.act(&cancelled, Action::Cancel).await.unwrap();
    assert_eq!(bench.dispatch().await.taken, 0);
    bench.service.act(&paused, Action::Resume).await.unwrap();
    assert_eq!(bench.service.status(&paused).await.unwrap(), JobStatus::Waiting);
    assert_eq!(bench.dispatch().await.taken, 1);
    bench.service.act(&paused, Action::Pause).await.unwrap();
    bench.service.act(&paused, Action::Resume).await.unwrap();
    assert_eq!(bench.service.status(&paused).await.unwrap(), JobStatus::Active, "its task is on the queue");
    assert_eq!(bench.dispatch().await.taken, 0, "and is not put there again");
}

#[tokio::test]
async fn many_dispatchers_publish_each_message_once() {
    let bench = Bench::new(MemoryQueueOptions::default());
    let jobs = (0..5_000).map(|i| job(&format!("j{i}"))).collect();
    bench.service.create_all(jobs).await.unwrap();
    let drain = |dispatcher: Dispatcher| async move {
        let mut taken = 0;
        loop {
            match dispatcher.dispatch_due().await.unwrap().taken {
                0 => return taken,
                some => taken += some,
            }
        }
    };
    let dispatchers: Vec<_> = (0..4).map(|_| drain(bench.dispatcher())).collect();
    let taken: usize = futures::future::join_all(dispatchers).await.into_iter().sum();
    assert_eq!(taken, 5_000);
    assert_eq!(bench.queue.depth("w-in").await.unwrap(), Some(5_000));
}

/// However many large messages are due, only so many are in memory at once; and for the others nobody waits.
#[tokio::test]
async fn a_batch_that_has_bytes_enough_is_followed_by_the_next_at_once() {
    let service = JobService::new(Arc::new(MemoryStore::new()));
    let large = |i: usize| {
        let mut job = job(&format!("j{i}"));
        job.task.data = vec![7; 400].into();
        job
    };
    service.create_all((0..20).map(large).collect()).await.unwrap();
    let queue = Arc::new(MemoryQueue::new());
    let dispatcher = || {
        let settings = DispatcherSettings {
            batch_bytes: 1_000,
            poll_interval: Duration::from_secs(3_600),
            ..DispatcherSettings::default()
        };
        let clock = Arc::new(SystemClock::new());
        let store = Arc::clone(service.store());
        Dispatcher::new(store, Arc::clone(&queue) as _, clock, Signals::default(), RandomIds.next(), settings)
    };
    let step = dispatcher().dispatch_due().await.unwrap();
    assert_eq!((step.taken, step.may_be_more), (3, true));
    let shutdown = Shutdown::new();
    let running = shutdown.spawn(dispatcher().run(shutdown.clone()));
    let mut consumer = queue.consume("w-in", ConsumeOptions { prefetch: 100 }).await.unwrap();
    for _ in 0..20 {
        consumer.next().await.unwrap().ack().await.unwrap();
    }
    shutdown.stop();
    running.await.unwrap();
    assert_eq!(dispatcher().dispatch_due().await.unwrap().taken, 0);
}

/// A queue that is slow to answer for some messages has others to go on with.
#[tokio::test]
async fn the_next_batch_is_published_before_the_one_before_it_is_answered() {
    let service = JobService::new(Arc::new(MemoryStore::new()));
    service.create_all((0..30).map(|i| job(&format!("j{i}"))).collect()).await.unwrap();
    let queue = Arc::new(MemoryQueue::new());
    let both = Arc::new(Barrier::new(2));
    let answers_two = HookedQueue::new(ForwardingQueue(Arc::clone(&queue) as _), move || {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
            Ok(())
        }
        .boxed()
    });
    let dispatcher = Dispatcher::new(
        Arc::clone(service.store()),
        Arc::new(answers_two),
        Arc::new(SystemClock::new()),
        Signals::default(),
        RandomIds.next(),
        DispatcherSettings { batch_size: 40, ..DispatcherSettings::default() },
    );
    let shutdown = Shutdown::new();
    let running = shutdown.spawn(dispatcher.run(shutdown.clone()));
    let mut consumer = queue.consume("w-in", ConsumeOptions { prefetch: 100 }).await.unwrap();
    for _ in 0..30 {
        consumer.next().await.unwrap().ack().await.unwrap();
    }
    shutdown.stop();
    running.await.unwrap();
}

/// The next batch is taken while one is published: neither may be left behind when a call of the store fails.
#[tokio::test]
async fn full_batches_behind_a_store_that_fails_are_all_published() {
    let store = Arc::new(MemoryStore::new());
    let service = JobService::new(Arc::clone(&store) as _);
    service.create_all((0..100).map(|i| job(&format!("j{i}"))).collect()).await.unwrap();
    let faults = StoreFaults { fail_before: 100, fail_after: 100, delay: 100 };
    let faulty = Arc::new(FaultyStore::new(store, faults, 3));
    let queue = Arc::new(MemoryQueue::new());
    let dispatcher = Dispatcher::new(
        Arc::clone(&faulty) as _,
        Arc::clone(&queue) as _,
        Arc::new(SystemClock::new()),
        Signals::default(),
        RandomIds.next(),
        DispatcherSettings {
            batch_size: 10,
            lease: Duration::from_millis(200),
            ..DispatcherSettings::default()
        },
    );
    let shutdown = Shutdown::new();
    let running = shutdown.spawn(dispatcher.run(shutdown.clone()));
    let mut consumer = queue.consume("w-in", ConsumeOptions { prefetch: 1_000 }).await.unwrap();
    let mut seen = HashSet::new();
    while seen.len() < 100 {
        let delivery = consumer.next().await.unwrap();
        seen.insert(TaskMessage::decode(&delivery.body).unwrap().task_id);
        delivery.ack().await.unwrap();
    }
    shutdown.stop();
    running.await.unwrap();
    let counts = faulty.counts();
    assert!(counts.failed_before > 0 && counts.failed_after > 0, "{counts:?}");
}
