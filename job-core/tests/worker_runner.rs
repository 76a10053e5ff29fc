//! A runner on the wire: what is published, in which order, and what becomes of the delivery.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod worker_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use job_core::Timestamp;
use job_core::clock::ManualClock;
use job_core::message::{HEADER_REJECTED, HEADER_RETRY, TaskMessage, TaskStatus, TrackingReportTask};
use job_core::queue::{Publication, TaskQueue};
use job_core::worker::{Outcome, RunnerSettings, Subtask, SubtaskError};
use tokio::sync::Notify;
use worker_support::{INPUT, PIPE, Recorder, Running, Trouble, does, settlements, task, within};

const NOW: i64 = 1_732_406_405_123;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(Timestamp::from_millis(NOW)))
}

/// The only failure in the reports: id, source and message.
fn failure(queue: &Recorder) -> (String, String, String) {
    let failures: Vec<_> = queue
        .published(PIPE)
        .iter()
        .flat_map(|publication| {
            let data = TaskMessage::decode(&publication.body).unwrap().task_data.unwrap();
            TrackingReportTask::decode_entries(&data).unwrap()
        })
        .filter_map(|entry| entry.unwrap().failure)
        .collect();
    let [failure] = failures.try_into().unwrap();
    (failure.failure_id.unwrap(), failure.failure_source.unwrap(), failure.failure_message.unwrap())
}

#[tokio::test]
async fn a_result_for_the_queue_where_tracking_ends_is_the_contracts_example() {
    let queue = Recorder::new();
    let mut item = TaskMessage::decode(include_bytes!("golden/message_item.json")).unwrap();
    item.task_classifier = Some("Work".into());
    item.to = Some(INPUT.into());
    queue.put_task(&item).await;
    let running = Running::start(&queue, |runner| {
        runner.clock(clock()).signed("worker-example", "1.0.0").register(does(|task, _| {
            Box::pin(async move {
                assert_eq!(task["ref"], "a1");
                let result = serde_json::json!({ "out": "1a" });
                Ok(Outcome::result("example-out", "ExampleWorker", 1, &result)?.with_state("state-1"))
            })
        }))
    });
    let log = queue.until_settled(1).await;
    assert_eq!(
        log,
        [
            "jobtracking-in [acme:job1.1 Complete]",
            "example-out 6b1f6a34-3b4c-4f0e-9a57-1f2f6d9f2a01.1 RESULT_SUCCESS",
            "Ack"
        ]
    );
    let result = queue.published("example-out").remove(0);
    assert_eq!(result.body, include_str!("golden/message_result.json").trim_end());
    assert!(result.headers.is_empty());
    running.stop().await;
    assert_eq!(running.monitor.counts().succeeded, 1);
}

#[tokio::test]
async fn a_task_without_output_is_one_report_and_an_ack() {
    let queue = Recorder::new();
    queue.put_task(&task("acme:job1")).await;
    let running = Running::start(&queue, |runner| {
        runner.register(does(|_, _| Box::pin(async { Ok(Outcome::done()) })))
    });
    assert_eq!(queue.until_settled(1).await, ["jobtracking-in [acme:job1 Complete]", "Ack"]);
    running.stop().await;
}

#[tokio::test]
async fn twelve_subtasks_are_reported_in_fives_and_the_ack_comes_last() {
    let queue = Recorder::new();
    queue.put_task(&task("acme:job1.3*")).await;
    let running = Running::start(&queue, |runner| {
        runner.register(does(|_, context| {
            Box::pin(async move {
                for number in 0..12 {
                    context.subtask("items", "Item", 1, &number).await?;
                }
                Ok(Outcome::result("out", "Result", 1, "whole")?)
            })
        }))
    });
    let log = queue.until_settled(1).await;
    let items = |range: std::ops::RangeInclusive<u32>| {
        range.map(|number| format!("items T.{number} NEW_TASK")).collect::<Vec<_>>()
    };
    let reports = |range: std::ops::RangeInclusive<u32>, last: &str| {
        let entries: Vec<String> = range.map(|number| format!("acme:job1.3*.{number} Progress")).collect();
        vec![format!("jobtracking-in [{}{last}]", entries.join(", "))]
    };
    let expected = [
        items(1..=5),
        reports(1..=5, ""),
        items(6..=10),
        reports(6..=10, ""),
        items(11..=12),
        reports(11..=12, ", acme:job1.3*.13* Complete"),
        vec!["out T.13* RESULT_SUCCESS".to_owned(), "Ack".to_owned()],
    ]
    .concat();
    assert_eq!(log, expected);
    running.stop().await;
}

#[tokio::test]
async fn subtasks_added_at_once_each_have_a_number() {
    let queue = Recorder::new();
    queue.put_task(&task("acme:job1")).await;
    let running = Running::start(&queue, |runner| {
        runner.register(does(|_, context| {
            Box::pin(async move {
                let adding = (0..500).map(|number| async move {
                    tokio::task::yield_now().await;
                    context.subtask("items", "Item", 1, &number).await
                });
                futures::future::try_join_all(adding).await?;
                Ok(Outcome::done())
            })
        }))
    });
    queue.until_settled(1).await;
    let ids: Vec<String> = queue
        .published("items")
        .iter()
        .map(|publication| TaskMessage::decode(&publication.body).unwrap().task_id)
        .collect();
    let expected: Vec<String> = (1..=500).map(|number| format!("T.{number}")).collect();
    assert_eq!(ids, expected);
    assert!(queue.log().iter().any(|line| line.contains("acme:job1.501* Complete")));
    running.stop().await;
}

#[tokio::test]
async fn a_subtask_is_published_while_its_worker_waits() {
    let queue = Recorder::new();
    queue.put_task(&task("acme:job1")).await;
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let running = Running::start(&queue, |runner| {
        runner.register(does(move |_, context| {
            let waiting = Arc::clone(&waiting);
            Box::pin(async move {
                context.send(Subtask::new("items", "Item", 1, "early")?.with_context()).await?;
                waiting.notified().await;
                Ok(Outcome::done())
            })
        }))
    });
    queue.until("the subtask", |log| log == &["items T.1 NEW_TASK"]).await;
    go_on.notify_one();
    queue.until_settled(1).await;
    running.stop().await;
}

#[tokio::test]
async fn a_full_queue_slows_the_worker_down_and_loses_nothing() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job1")).await;
    queue.disturb("items", Trouble::Refuse, usize::MAX);
    let produced = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&produced);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).register(does(move |_, context| {
            let counter = Arc::clone(&counter);
            Box::pin(async move {
                for number in 0..2_000 {
                    context.subtask("items", "Item", 1, &number).await?;
                    counter.fetch_add(1, Ordering::SeqCst);
                }
                Ok(Outcome::done())
            })
        }))
    });
    let refused = |log: &Vec<String>| log.iter().filter(|line| *line == "items refuses").count();
    queue.until("refusals", |log| refused(log) > 0).await;
    for round in 1..=5 {
        let before = refused(&queue.log());
        clock.advance(Duration::from_secs(30));
        queue.until("another try", |log| refused(log) > before).await;
        assert!(produced.load(Ordering::SeqCst) <= 200, "round {round}: the worker is not held up");
    }
    queue.disturb("items", Trouble::Refuse, 0);
    within(async {
        while settlements(&queue.log()) == 0 {
            clock.advance(Duration::from_secs(30));
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    let numbers: Vec<u32> = queue
        .published("items")
        .iter()
        .map(|publication| {
            let data = TaskMessage::decode(&publication.body).unwrap().task_data.unwrap();
            serde_json::from_slice(&data).unwrap()
        })
        .collect();
    assert_eq!(numbers, (0..2_000).collect::<Vec<_>>());
    assert_eq!(queue.log().last().unwrap(), "Ack");
    running.stop().await;
}

#[tokio::test]
async fn a_task_is_acked_only_when_its_last_message_is_confirmed() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job1")).await;
    queue.disturb("out", Trouble::Refuse, 2);
    let running = Running::start(&queue, |runner| {
        runner
            .clock(Arc::<ManualClock>::clone(&clock))
            .register(does(|_, _| Box::pin(async { Ok(Outcome::result("out", "Result", 1, "x")?) })))
    });
    within(async {
        while settlements(&queue.log()) == 0 {
            clock.advance(Duration::from_secs(30));
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert_eq!(
        queue.log(),
        ["jobtracking-in [acme:job1 Complete]", "out refuses", "out refuses", "out T RESULT_SUCCESS", "Ack"]
    );
    running.stop().await;
}

#[tokio::test]
async fn a_task_whose_messages_stay_unconfirmed_is_handed_back() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job1")).await;
    queue.disturb("out", Trouble::Unroutable, usize::MAX);
    let running = Running::start(&queue, |runner| {
        runner
            .clock(Arc::<ManualClock>::clone(&clock))
            .register(does(|_, _| Box::pin(async { Ok(Outcome::result("out", "Result", 1, "x")?) })))
    });
    within(async {
        while settlements(&queue.log()) == 0 {
            clock.advance(Duration::from_secs(30));
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(queue.log().contains(&"Requeue".to_owned()));
    running.stop_in_time(&clock).await;
    assert_eq!(queue.depth(INPUT).await.unwrap(), Some(1));
}

#[tokio::test]
async fn panics_and_errors_are_failures_with_their_text() {
    for (how, expected) in [
        ("panic", "the worker panicked: boom 7"),
        ("error", "the index is broken: disk full"),
        ("outcome", "no"),
    ] {
        let queue = Recorder::new();
        let mut message = task("acme:job1.2");
        message.task_data = Some(format!("\"{how}\"").into());
        queue.put_task(&message).await;
        let settings = RunnerSettings { output_queue: Some("work-out".into()), ..RunnerSettings::default() };
        let running = Running::start(&queue, |runner| {
            runner.settings(settings).register(does(|how, _| {
                Box::pin(async move {
                    match how.as_str().unwrap() {
                        "panic" => panic!("boom {}", 7),
                        "error" => Err("the index is broken: disk full".into()),
                        _ => Ok(Outcome::failed("no")),
                    }
                })
            }))
        });
        let log = queue.until_settled(1).await;
        assert_eq!(log, ["jobtracking-in [acme:job1.2 Failed]", "work-out T RESULT_EXCEPTION", "Ack"]);
        assert_eq!(failure(&queue), ("RESULT_EXCEPTION".into(), "Work".into(), expected.to_owned()));
        let answer = TaskMessage::decode(&queue.published("work-out")[0].body).unwrap();
        assert_eq!(answer.task_data.unwrap(), serde_json::to_string(expected).unwrap());
        running.stop().await;
        assert_eq!(running.monitor.counts().failed, 1);
    }
}

#[tokio::test]
async fn a_failure_may_have_an_id_of_its_own() {
    let queue = Recorder::new();
    queue.put_task(&task("acme:job1")).await;
    let running = Running::start(&queue, |runner| {
        runner.register(does(|_, _| Box::pin(async { Ok(Outcome::failed_as("QUOTA", "too many pages")) })))
    });
    queue.until_settled(1).await;
    assert_eq!(failure(&queue), ("QUOTA".into(), "Work".into(), "too many pages".into()));
    running.stop().await;
}

#[tokio::test]
async fn tasks_that_make_no_sense_are_answered_with_the_contracts_texts() {
    type Spoil = fn(&mut TaskMessage);
    let cases: [(Spoil, &str); 4] = [
        (|message| message.task_classifier = Some("Foo".into()), "Task of type Foo found on queue for Work"),
        (|message| message.task_classifier = None, "Task of type  found on queue for Work"),
        (|message| message.task_data = None, "Invalid input message: task not specified"),
        (
            |message| message.task_data = Some("{".into()),
            "Invalid input message: EOF while parsing an object at line 1 column 1",
        ),
    ];
    for (spoil, expected) in cases {
        let queue = Recorder::new();
        let mut message = task("acme:job1");
        spoil(&mut message);
        queue.put_task(&message).await;
        let running = Running::start(&queue, |runner| {
            runner.register(does(|_, _| Box::pin(async { unreachable!("it makes no sense") })))
        });
        let log = queue.until_settled(1).await;
        assert_eq!(log, ["jobtracking-in [acme:job1 Failed]", "Ack"]);
        assert_eq!(failure(&queue).2, expected);
        assert_eq!(failure(&queue).0, "INVALID_TASK");
        running.stop().await;
    }
}

#[tokio::test]
async fn an_invalid_task_is_the_contracts_example() {
    let queue = Recorder::new();
    let expected = include_str!("golden/message_invalid_task.json").trim_end();
    let mut message = TaskMessage::decode(expected.as_bytes()).unwrap();
    message.task_status = Some(TaskStatus::NewTask);
    message.to = Some(INPUT.into());
    message.source_info = None;
    queue.put_task(&message).await;
    let settings =
        RunnerSettings { output_queue: Some("batch-worker-err".into()), ..RunnerSettings::default() };
    let running = Running::start(&queue, |runner| {
        let batch = job_core::worker::batch::BatchWorker::new();
        runner.settings(settings).signed("worker-batch", "3.7.0").clock(clock()).register(batch)
    });
    queue.until_settled(1).await;
    assert_eq!(queue.published("batch-worker-err")[0].body, expected);
    running.stop().await;
}

#[tokio::test]
async fn what_nobody_would_hear_of_goes_to_the_reject_queue() {
    let queue = Recorder::new();
    let mut message = task("acme:job1");
    message.tracking = None;
    queue.put_task(&message).await;
    let running = Running::start(&queue, |runner| {
        runner.register(does(|_, _| Box::pin(async { Ok(Outcome::reject("not an image")) })))
    });
    assert_eq!(queue.until_settled(1).await, ["work-in-reject T INVALID_TASK", "Ack"]);
    running.stop().await;
}

#[tokio::test]
async fn unreadable_messages_are_set_aside_with_their_reason() {
    let queue = Recorder::new();
    queue.put(Publication::new(INPUT, &b"{\"taskId\":7}"[..])).await;
    queue.put_task(&task("acme:job1.x")).await;
    let running = Running::start(&queue, |runner| {
        runner.register(does(|_, _| Box::pin(async { Ok(Outcome::done()) })))
    });
    queue.until_settled(2).await;
    let aside = queue.published("work-in-reject");
    assert_eq!(aside[0].body, "{\"taskId\":7}");
    for publication in &aside {
        assert_eq!(publication.headers[HEADER_REJECTED], "TASKMESSAGE_INVALID");
    }
    assert!(aside[0].headers["x-job-service-reason"].contains("invalid type"), "{:?}", aside[0].headers);
    assert!(aside[1].headers["x-job-service-reason"].contains("\"x\" is not a subtask number"));
    running.stop().await;
    assert_eq!(running.monitor.counts().set_aside, 2);
}

/// Runs until `settled` deliveries are settled, moving the clock whenever somebody waits for it.
async fn run_through(queue: &Recorder, clock: &ManualClock, settled: usize) {
    within(async {
        while settlements(&queue.log()) < settled {
            if clock.sleepers() > 0 {
                clock.advance(Duration::from_secs(1));
            }
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap_or_else(|| panic!("{:#?}", queue.log()));
}

#[tokio::test]
async fn a_task_is_tried_as_often_as_the_limit_says_and_then_set_aside() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job1")).await;
    let tries = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&tries);
    let settings =
        RunnerSettings { retry_limit: 3, friendly_name: Some("Tester".into()), ..RunnerSettings::default() };
    let running = Running::start(&queue, |runner| {
        runner.settings(settings).clock(Arc::<ManualClock>::clone(&clock)).register(does(
            move |_, context| {
                seen.lock().unwrap().push(context.attempt());
                Box::pin(async { Ok(Outcome::retry_after(Duration::from_secs(30))) })
            },
        ))
    });
    // Each try is requeued once and counted once, then comes the one too many.
    run_through(&queue, &clock, 4 + 3 + 1).await;
    assert_eq!(*tries.lock().unwrap(), [1, 2, 3, 4]);
    assert_eq!(queue.published(INPUT)[2].headers[HEADER_RETRY], "3");
    let log = queue.log();
    assert_eq!(
        log[log.len() - 3..],
        [
            "work-in-reject 00000000-0000-0000-0000-000000000001 RESULT_EXCEPTION",
            "jobtracking-in [acme:job1 Failed]",
            "Ack"
        ]
    );
    assert_eq!(failure(&queue).2, "Tester could not process the item.");
    running.stop().await;
    let counts = running.monitor.counts();
    assert_eq!((counts.poisoned, counts.failed, counts.succeeded), (1, 1, 0));
}

#[tokio::test]
async fn a_newer_task_is_left_to_newer_workers_without_haste_and_not_for_ever() {
    let queue = Recorder::new();
    let clock = clock();
    let mut message = task("acme:job1");
    message.task_api_version = 3;
    queue.put_task(&message).await;
    let settings = RunnerSettings { retry_limit: 2, ..RunnerSettings::default() };
    let running = Running::start(&queue, |runner| {
        runner
            .settings(settings)
            .clock(Arc::<ManualClock>::clone(&clock))
            .register(does(|_, _| Box::pin(async { unreachable!("it is newer") })))
    });
    run_through(&queue, &clock, 3 + 2 + 1).await;
    let waited = clock_since_start(&clock);
    assert!(waited >= Duration::from_secs(4), "only {waited:?} of back-off");
    assert_eq!(failure(&queue).2, "Work could not process the item.");
    running.stop().await;
}

fn clock_since_start(clock: &ManualClock) -> Duration {
    job_core::Clock::now(clock).since(Timestamp::from_millis(NOW))
}

#[tokio::test]
async fn a_diverted_message_goes_where_it_belongs() {
    let queue = Recorder::new();
    let mut elsewhere = task("acme:job1");
    elsewhere.to = Some("other-in".into());
    let mut home = task("acme:job1");
    home.to = Some("OUT".into());
    for message in [&elsewhere, &home] {
        let mut publication = Publication::new(INPUT, message.encode());
        publication.headers = [("trace".into(), "7".into()), (HEADER_RETRY.into(), "2".into())].into();
        queue.put(publication).await;
    }
    let mut nobody = task("acme:job1");
    nobody.to = None;
    queue.put_task(&nobody).await;
    let running = Running::start(&queue, |runner| {
        runner.concurrency(1).register(does(|_, _| Box::pin(async { Ok(Outcome::done()) })))
    });
    queue.until_settled(3).await;
    let forwarded = queue.published("other-in").remove(0);
    assert_eq!(forwarded.headers, [("trace".into(), "7".into())].into());
    assert_eq!(TaskMessage::decode(&forwarded.body).unwrap(), elsewhere);
    assert_eq!(TaskMessage::decode(&queue.published("OUT")[0].body).unwrap().tracking, None);
    let counts = running.monitor.counts();
    assert_eq!((counts.forwarded, counts.succeeded), (2, 1), "nobody named means whoever finds it");
    running.stop().await;
}

#[tokio::test]
async fn percentages_are_sent_no_more_often_than_the_interval_allows() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job1")).await;
    let inner = Arc::clone(&clock);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).register(does(move |_, context| {
            let clock = Arc::clone(&inner);
            Box::pin(async move {
                for step in 0..=100 {
                    context.progress(f64::from(step));
                    clock.advance(Duration::from_millis(100));
                }
                context.progress(f64::NAN);
                Ok(Outcome::done())
            })
        }))
    });
    let log = queue.until_settled(1).await;
    let sent: Vec<&str> =
        log.iter().filter_map(|line| line.strip_prefix("jobtracking-in acme:job1 ")).collect();
    assert_eq!(sent, ["1%", "11%", "21%", "31%", "41%", "51%", "61%", "71%", "81%", "91%"]);
    running.stop().await;
}

#[tokio::test]
async fn a_subtask_to_a_queue_that_does_not_exist_is_tried_again_later() {
    let queue = Recorder::new();
    let clock = clock();
    queue.put_task(&task("acme:job1")).await;
    queue.disturb("nowhere", Trouble::Unroutable, 12);
    let running = Running::start(&queue, |runner| {
        runner.clock(Arc::<ManualClock>::clone(&clock)).register(does(|_, context| {
            Box::pin(async move {
                let sent: Result<(), SubtaskError> = context.subtask("nowhere", "Item", 1, &1).await;
                sent?;
                Ok(Outcome::done())
            })
        }))
    });
    run_through(&queue, &clock, 3).await;
    let log = queue.log();
    let of_interest: Vec<&str> =
        log.iter().map(String::as_str).filter(|line| *line != "nowhere is missing").collect();
    assert_eq!(
        of_interest,
        [
            "Requeue",
            "work-in T NEW_TASK",
            "Ack",
            "nowhere T.1 NEW_TASK",
            "jobtracking-in [acme:job1.1 Progress, acme:job1.2* Complete]",
            "Ack"
        ]
    );
    assert_eq!(queue.depth(INPUT).await.unwrap(), Some(0));
    running.stop().await;
}
