//! A runner and the world around it: jobs that end, runners that stop, many tasks at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod worker_support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use job_core::clock::ManualClock;
use job_core::message::{TaskMessage, TrackingReportTask};
use job_core::queue::TaskQueue;
use job_core::worker::{Outcome, RunnerSettings, StatusAnswer, StatusQuestion, StatusSource, SubtaskError};
use job_core::{Clock, JobKey, JobStatus, Result, Signals, Timestamp};
use tokio::sync::Notify;
use worker_support::{INPUT, PIPE, Recorder, Running, Trouble, does, task, within};

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(1_000_000)))
}

/// Knows the status of jobs by their id; a job it does not know does not exist.
#[derive(Debug, Clone)]
struct Known {
    clock: Arc<ManualClock>,
    jobs: Arc<Mutex<BTreeMap<String, JobStatus>>>,
    asked: Arc<AtomicUsize>,
    in_process: bool,
}

impl Known {
    fn new(clock: &Arc<ManualClock>, jobs: &[(&str, JobStatus)]) -> Self {
        let jobs = jobs.iter().map(|(job, status)| ((*job).to_owned(), *status)).collect();
        Self {
            clock: Arc::clone(clock),
            jobs: Arc::new(Mutex::new(jobs)),
            asked: Arc::default(),
            in_process: false,
        }
    }

    fn set(&self, job: &str, status: JobStatus) {
        self.jobs.lock().unwrap().insert(job.to_owned(), status);
    }
}

#[async_trait]
impl StatusSource for Known {
    async fn ask(&self, question: StatusQuestion<'_>) -> Result<Option<StatusAnswer>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let status = self.jobs.lock().unwrap().get(question.job.job.as_str()).copied();
        let valid_for = Duration::from_secs(7);
        Ok(Some(StatusAnswer { status, as_of: self.clock.now(), valid_for }))
    }

    fn is_in_process(&self) -> bool {
        self.in_process
    }
}

/// A task whose status check is due.
fn due_task(id: &str) -> TaskMessage {
    let mut message = task(id);
    message.tracking.as_mut().unwrap().last_status_check_time = None;
    message
}

#[tokio::test]
async fn the_status_of_a_job_decides_about_its_tasks() {
    let queue = Recorder::new();
    let clock = clock();
    let jobs = [
        ("active", JobStatus::Active),
        ("waiting", JobStatus::Waiting),
        ("paused", JobStatus::Paused),
        ("cancelled", JobStatus::Cancelled),
        ("completed", JobStatus::Completed),
        ("failed", JobStatus::Failed),
    ];
    let status = Known::new(&clock, &jobs);
    for job in jobs.iter().map(|(job, _)| *job).chain(["missing"]) {
        queue.put_task(&due_task(&format!("acme:{job}"))).await;
    }
    let settings = RunnerSettings { paused_queue: Some("paused-in".into()), ..RunnerSettings::default() };
    let running = Running::start(&queue, |runner| {
        runner
            .settings(settings)
            .clock(Arc::<ManualClock>::clone(&clock))
            .status(status.clone())
            .register(does(|_, _| Box::pin(async { Ok(Outcome::result("out-2", "Result", 1, "x")?) })))
    });
    queue.until_settled(7).await;
    let counts = running.monitor.counts();
    assert_eq!((counts.succeeded, counts.paused, counts.discarded), (2, 1, 4));
    let ran: Vec<Option<String>> = queue
        .published("out-2")
        .iter()
        .map(|publication| {
            let tracking = TaskMessage::decode(&publication.body).unwrap().tracking.unwrap();
            assert_eq!(tracking.last_status_check_time, Some(clock.now()), "the check travels on");
            assert_eq!(tracking.status_check_interval_millis, 7_000);
            tracking.job_task_id
        })
        .collect();
    assert_eq!(ran, [Some("acme:active".to_owned()), Some("acme:waiting".to_owned())]);
    let held = TaskMessage::decode(&queue.published("paused-in")[0].body).unwrap();
    let mut expected = due_task("acme:paused");
    let tracking = expected.tracking.as_mut().unwrap();
    (tracking.last_status_check_time, tracking.status_check_interval_millis) = (Some(clock.now()), 7_000);
    assert_eq!(held, expected);
    running.stop().await;
}

#[tokio::test]
async fn a_paused_job_runs_where_there_is_no_queue_for_paused_tasks() {
    let queue = Recorder::new();
    let clock = clock();
    let status = Known::new(&clock, &[("job", JobStatus::Paused)]);
    queue.put_task(&due_task("acme:job")).await;
    let running = Running::start(&queue, |runner| {
        runner
            .clock(Arc::<ManualClock>::clone(&clock))
            .status(status)
            .register(does(|_, _| Box::pin(async { Ok(Outcome::done()) })))
    });
    queue.until_settled(1).await;
    assert_eq!(running.monitor.counts().succeeded, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_status_is_not_asked_for_before_its_time() {
    let queue = Recorder::new();
    let clock = clock();
    let status = Known::new(&clock, &[]);
    queue.put_task(&task("acme:job")).await;
    let running = Running::start(&queue, |runner| {
        runner
            .clock(Arc::<ManualClock>::clone(&clock))
            .status(status.clone())
            .register(does(|_, _| Box::pin(async { Ok(Outcome::done()) })))
    });
    queue.until_settled(1).await;
    assert_eq!((running.monitor.counts().succeeded, status.asked.load(Ordering::SeqCst)), (1, 0));
    running.stop().await;
}

#[tokio::test]
async fn a_running_task_learns_that_its_job_was_cancelled() {
    let queue = Recorder::new();
    let clock = clock();
    let status = Known::new(&clock, &[("job", JobStatus::Active)]);
    queue.put_task(&due_task("acme:job")).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).status(status.clone()).register(does(
            move |_, context| {
                let counter = Arc::clone(&counter);
                Box::pin(async move {
                    context.subtask("items", "Item", 1, &1).await?;
                    context.cancelled().await;
                    assert!(context.is_cancelled());
                    let refused = context.subtask("items", "Item", 1, &2).await;
                    assert!(matches!(refused, Err(SubtaskError::JobEnded)));
                    counter.fetch_add(1, Ordering::SeqCst);
                    refused?;
                    Ok(Outcome::done())
                })
            },
        ))
    });
    queue.until("the first subtask", |log| log.len() == 1).await;
    status.set("job", JobStatus::Cancelled);
    let settled = queue.until_settled(1);
    let moving = async {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let log = tokio::select! { log = settled => log, () = moving => unreachable!() };
    assert_eq!(log, ["items T.1 NEW_TASK", "Reject"], "no failure is reported");
    assert_eq!((refused.load(Ordering::SeqCst), running.monitor.counts().discarded), (1, 1));
    running.stop().await;
}

/// Where the engine runs in this process nobody waits for the next look at the status.
#[tokio::test]
async fn a_running_task_is_told_at_once_that_its_job_was_cancelled() {
    let queue = Recorder::new();
    let clock = clock();
    let signals = Signals::default();
    let status = Known::new(&clock, &[("job", JobStatus::Active)]);
    queue.put_task(&due_task("acme:job")).await;
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let running = Running::start(&queue, |runner| {
        let runner = runner.clock(Arc::<ManualClock>::clone(&clock)).status(status.clone());
        runner.signals(signals.clone()).register(does(move |_, context| {
            let told = Arc::clone(&told);
            Box::pin(async move {
                context.subtask("items", "Item", 1, &1).await?;
                told.notified().await;
                context.subtask("items", "Item", 1, &2).await?;
                context.cancelled().await;
                Ok(Outcome::failed("of no interest any more"))
            })
        }))
    });
    queue.until("the first subtask", |log| log.len() == 1).await;
    let (job, other) = (JobKey::parse("acme", "job").unwrap(), JobKey::parse("acme", "other").unwrap());
    // Neither another job's end nor a failure, after which the other tasks go on, ends the task.
    signals.job_withdrawn(&other);
    signals.job_finished(&job);
    go_on.notify_one();
    queue.until("the second subtask", |log| log.len() == 2).await;
    signals.job_withdrawn(&job);
    // The clock stands still.
    assert_eq!(queue.until_settled(1).await, ["items T.1 NEW_TASK", "items T.2 NEW_TASK", "Reject"]);
    assert_eq!(running.monitor.counts().discarded, 1);
    running.stop().await;
}

#[tokio::test]
async fn a_task_that_waits_for_a_full_queue_ends_with_its_job() {
    let queue = Recorder::new();
    let clock = clock();
    let status = Known::new(&clock, &[("job", JobStatus::Active)]);
    queue.put_task(&due_task("acme:job")).await;
    queue.disturb("items", Trouble::Refuse, usize::MAX);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).status(status.clone()).register(does(|_, context| {
            Box::pin(async move {
                for number in 0..1_000_000 {
                    context.subtask("items", "Item", 1, &number).await?;
                }
                Ok(Outcome::done())
            })
        }))
    });
    queue.until("a refusal", |log| !log.is_empty()).await;
    status.set("job", JobStatus::Completed);
    within(async {
        while worker_support::settlements(&queue.log()) == 0 {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(queue.log().last().unwrap(), "Reject");
    running.stop().await;
}

#[tokio::test]
async fn a_runner_that_stops_lets_running_tasks_finish() {
    let queue = Recorder::new();
    queue.put_task(&task("acme:job")).await;
    let (started, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (starting, finishing) = (Arc::clone(&started), Arc::clone(&finish));
    let running = Running::start(&queue, |runner| {
        runner.register(does(move |_, context| {
            let (starting, finishing) = (Arc::clone(&starting), Arc::clone(&finishing));
            Box::pin(async move {
                starting.notify_one();
                context.stopping().await;
                finishing.notified().await;
                Ok(Outcome::done())
            })
        }))
    });
    within(started.notified()).await.unwrap();
    running.shutdown.stop();
    queue.put_task(&task("acme:later")).await;
    finish.notify_one();
    running.stop().await;
    assert_eq!(queue.log(), ["jobtracking-in [acme:job Complete]", "Ack"]);
    assert_eq!(queue.depth(INPUT).await.unwrap(), Some(1), "no new task is taken");
}

#[tokio::test]
async fn a_task_that_does_not_finish_in_time_is_handed_back() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job")).await;
    let started = Arc::new(Notify::new());
    let starting = Arc::clone(&started);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).register(does(move |_, _| {
            starting.notify_one();
            Box::pin(std::future::pending())
        }))
    });
    within(started.notified()).await.unwrap();
    running.stop_in_time(&clock).await;
    assert_eq!(queue.log(), ["dropped"]);
    assert_eq!(queue.depth(INPUT).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_task_that_asks_for_a_retry_while_stopping_is_handed_back_at_once() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job")).await;
    let started = Arc::new(Notify::new());
    let starting = Arc::clone(&started);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).register(does(move |_, context| {
            starting.notify_one();
            Box::pin(async move {
                context.stopping().await;
                Ok(Outcome::retry_after(Duration::from_secs(600)))
            })
        }))
    });
    within(started.notified()).await.unwrap();
    running.stop().await;
    assert_eq!(queue.log(), ["Requeue"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_under_load_loses_nothing() {
    const TASKS: usize = 3_000;
    let queue = Recorder::new();
    for number in 0..TASKS {
        let mut message = task(&format!("acme:job.{}", number + 1));
        message.task_data = Some(number.to_string().into());
        queue.put_task(&message).await;
    }
    let mut reported = BTreeMap::<String, usize>::new();
    let mut rounds = 0;
    while queue.depth(INPUT).await.unwrap() != Some(0) {
        rounds += 1;
        let before = queue.published(PIPE).len();
        let settings = RunnerSettings { retry_limit: 1_000, ..RunnerSettings::default() };
        let running = Running::start(&queue, |runner| {
            runner.settings(settings).concurrency(7).prefetch(200).register(does(|number, _| {
                Box::pin(async move {
                    // Some end at once, some later, some are spawned.
                    for _ in 0..number.as_u64().unwrap() % 4 {
                        tokio::task::yield_now().await;
                    }
                    Ok(Outcome::done())
                })
            }))
        });
        let enough = before + 400;
        let empty = queue.until("some work", |_| queue.published(PIPE).len() >= enough.min(TASKS)).await;
        drop(empty);
        running.stop().await;
    }
    assert!(rounds > 1, "it was all done before the first stop");
    for publication in queue.published(PIPE) {
        let data = TaskMessage::decode(&publication.body).unwrap().task_data.unwrap();
        for entry in TrackingReportTask::decode_entries(&data).unwrap() {
            *reported.entry(entry.unwrap().job_task_id).or_default() += 1;
        }
    }
    assert_eq!(reported.len(), TASKS);
    assert_eq!(queue.log().iter().filter(|line| *line == "Ack").count(), TASKS + requeued_copies(&queue));
}

/// A classic queue's task that was handed back is put on the queue once more, with its count.
fn requeued_copies(queue: &Recorder) -> usize {
    queue.published(INPUT).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_tasks_run_at_once_than_allowed() {
    let queue = Recorder::new();
    for number in 0..60 {
        queue.put_task(&task(&format!("acme:job.{}", number + 1))).await;
    }
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running_now, highest) = (Arc::clone(&now), Arc::clone(&most));
    let running = Running::start(&queue, |runner| {
        runner.concurrency(5).prefetch(60).register(does(move |_, _| {
            let (now, most) = (Arc::clone(&running_now), Arc::clone(&highest));
            Box::pin(async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                Ok(Outcome::done())
            })
        }))
    });
    queue.until_settled(60).await;
    assert_eq!(most.load(Ordering::SeqCst), 5);
    running.stop().await;
}

#[tokio::test]
async fn reports_of_different_tasks_travel_together_to_an_engine_in_the_process() {
    let queue = Recorder::new();
    let clock = clock();
    let jobs = [("job", JobStatus::Active), ("fan-out", JobStatus::Active)];
    let status = Known { in_process: true, ..Known::new(&clock, &jobs) };
    for number in 1..=500 {
        let mut message = task(&format!("acme:job.{number}"));
        message.correlation_id = Some(format!("c{}", number % 2));
        queue.put_task(&message).await;
    }
    queue.put_task(&task("acme:fan-out")).await;
    // The first batch does not get through; what is tried again is complete.
    queue.disturb(PIPE, Trouble::Refuse, 2);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).status(status).prefetch(1_000).register(does(
            |_, context| {
                Box::pin(async move {
                    if context.job_task_id().unwrap().job.job.as_str() == "fan-out" {
                        for number in 0..20 {
                            context.subtask("items", "Item", 1, &number).await?;
                        }
                    }
                    Ok(Outcome::done())
                })
            },
        ))
    });
    within(async {
        while worker_support::settlements(&queue.log()) < 501 {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let mut ids = Vec::new();
    let messages = queue.published(PIPE);
    for publication in &messages {
        let message = TaskMessage::decode(&publication.body).unwrap();
        for entry in TrackingReportTask::decode_entries(&message.task_data.unwrap()).unwrap() {
            let id = entry.unwrap().job_task_id;
            if let Some(number) = id.strip_prefix("acme:job.") {
                let number: u32 = number.parse().unwrap();
                assert_eq!(message.correlation_id, Some(format!("c{}", number % 2)));
            }
            ids.push(id);
        }
    }
    ids.sort();
    let mut expected: Vec<String> = (1..=500).map(|number| format!("acme:job.{number}")).collect();
    expected.push("acme:fan-out.21*".into());
    expected.sort();
    assert!(ids == expected, "each once, and no progress of zero: {} entries", ids.len());
    assert!(messages.len() < 50, "{} messages", messages.len());
    running.stop().await;
}
