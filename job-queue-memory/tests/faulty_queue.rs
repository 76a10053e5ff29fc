//! The fault injector of `job-conformance` in front of a healthy queue.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use job_conformance::faults::queue::{FaultyQueue, QueueFaultCounts, QueueFaultRates};
use job_core::queue::{ConsumeOptions, Delivery, Publication, PublishOutcome, Settlement, TaskQueue};
use job_core::{ClockExt, ErrorKind, SystemClock};
use job_queue_memory::MemoryQueue;

const ALWAYS: u16 = 1_000;
const OPTIONS: ConsumeOptions = ConsumeOptions { prefetch: 100 };

fn faulty(rates: QueueFaultRates) -> (MemoryQueue, FaultyQueue) {
    let queue = MemoryQueue::new();
    let faulty = FaultyQueue::new(Arc::new(queue.connect()), 7, rates);
    (queue, faulty)
}

fn numbers(range: std::ops::Range<usize>) -> Vec<Publication> {
    range.map(|number| Publication::new("q", number.to_string())).collect()
}

async fn depth(queue: &MemoryQueue) -> u64 {
    queue.depth("q").await.unwrap().unwrap_or(0)
}

fn is_refused(outcome: &PublishOutcome) -> bool {
    matches!(outcome, PublishOutcome::Refused { .. })
}

#[tokio::test]
async fn a_publish_may_fail_with_or_without_its_effect() {
    let (queue, before) = faulty(QueueFaultRates { publish_fails: ALWAYS, ..Default::default() });
    let error = before.publish(numbers(0..3)).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, true));
    assert_eq!(depth(&queue).await, 0);

    let rates = QueueFaultRates { publish_fails_after_sending: ALWAYS, ..Default::default() };
    let (queue, after) = faulty(rates);
    assert!(after.publish(numbers(0..3)).await.unwrap_err().is_transient());
    assert_eq!(depth(&queue).await, 3);
    let counts = QueueFaultCounts { publish_fails_after_sending: 1, ..Default::default() };
    assert_eq!(after.counts(), counts);
}

#[tokio::test]
async fn a_message_may_be_refused_with_or_without_being_there() {
    let (queue, withheld) = faulty(QueueFaultRates { message_refused: ALWAYS, ..Default::default() });
    assert!(withheld.publish(numbers(0..3)).await.unwrap().iter().all(is_refused));
    assert_eq!(depth(&queue).await, 0);

    let (queue, lost) = faulty(QueueFaultRates { confirm_lost: ALWAYS, ..Default::default() });
    assert!(lost.publish(numbers(0..3)).await.unwrap().iter().all(is_refused));
    assert_eq!(depth(&queue).await, 3);
}

#[tokio::test]
async fn a_message_may_come_twice_under_one_outcome() {
    let (queue, twice) = faulty(QueueFaultRates { message_duplicated: ALWAYS, ..Default::default() });
    let outcomes = twice.publish(numbers(0..3)).await.unwrap();
    assert_eq!(outcomes, [const { PublishOutcome::Confirmed }; 3]);
    assert_eq!(depth(&queue).await, 6);
}

#[tokio::test]
async fn outcomes_stay_with_their_messages() {
    let (queue, mixed) = faulty(QueueFaultRates {
        message_refused: 300,
        message_duplicated: 300,
        ..QueueFaultRates::default()
    });
    let outcomes = mixed.publish(numbers(0..200)).await.unwrap();
    let mut consumer = queue.consume("q", ConsumeOptions { prefetch: 1_000 }).await.unwrap();
    let mut copies = BTreeMap::<usize, usize>::new();
    let expected = outcomes.iter().filter(|outcome| !is_refused(outcome)).count();
    let total = expected + usize::try_from(mixed.counts().message_duplicated).unwrap();
    for _ in 0..total {
        let delivery = consumer.next().await.unwrap();
        *copies.entry(std::str::from_utf8(&delivery.body).unwrap().parse().unwrap()).or_default() += 1;
        delivery.ack().await.unwrap();
    }
    for (number, outcome) in outcomes.iter().enumerate() {
        assert_eq!(is_refused(outcome), !copies.contains_key(&number), "{number}");
    }
}

#[tokio::test]
async fn delays_reorder_within_a_window_and_lose_nothing() {
    let (_, slow) = faulty(QueueFaultRates { delivery_delayed: 400, ..Default::default() });
    slow.publish(numbers(0..500)).await.unwrap();
    let mut consumer = slow.consume("q", OPTIONS).await.unwrap();
    let mut order = Vec::new();
    for _ in 0..500 {
        let delivery = consumer.next().await.unwrap();
        order.push(std::str::from_utf8(&delivery.body).unwrap().parse::<usize>().unwrap());
        delivery.ack().await.unwrap();
    }
    assert!(!order.is_sorted());
    assert!(order.iter().enumerate().all(|(place, number)| place.abs_diff(*number) <= 80));
    order.sort_unstable();
    assert_eq!(order, (0..500).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_delayed_comes_when_nothing_else_does() {
    let (_, slow) = faulty(QueueFaultRates { delivery_delayed: ALWAYS, ..Default::default() });
    slow.publish(numbers(0..3)).await.unwrap();
    let mut consumer = slow.consume("q", ConsumeOptions { prefetch: 1 }).await.unwrap();
    for _ in 0..3 {
        consumer.next().now_or_never().unwrap().unwrap().ack().await.unwrap();
    }
}

#[tokio::test]
async fn a_settlement_may_fail_with_or_without_its_effect() {
    let (queue, before) = faulty(QueueFaultRates { settle_fails: ALWAYS, ..Default::default() });
    before.publish(numbers(0..2)).await.unwrap();
    let mut consumer = before.consume("q", OPTIONS).await.unwrap();
    let held = consumer.by_ref().take(2).collect().await;
    assert!(Delivery::settle_all(held, Settlement::Ack).await.unwrap_err().is_transient());
    let again = consumer.next().await.unwrap();
    assert_eq!(again.redeliveries, 1);
    before.set_enabled(false);
    again.ack().await.unwrap();
    drop(consumer);
    assert_eq!(depth(&queue).await, 1);

    let (queue, after) =
        faulty(QueueFaultRates { settle_fails_after_settling: ALWAYS, ..Default::default() });
    after.publish(numbers(0..2)).await.unwrap();
    let mut consumer = after.consume("q", OPTIONS).await.unwrap();
    assert!(consumer.next().await.unwrap().ack().await.is_err());
    drop(consumer);
    assert_eq!(depth(&queue).await, 1);
}

#[tokio::test]
async fn other_calls_fail_and_recover() {
    let (_, broken) = faulty(QueueFaultRates { call_fails: ALWAYS, ..Default::default() });
    assert!(broken.ping().await.is_err());
    assert!(broken.declare("q").await.is_err());
    assert!(broken.depth("q").await.is_err());
    assert!(broken.consume("q", OPTIONS).await.is_err());
    assert_eq!(broken.counts().call_fails, 4);
    broken.set_enabled(false);
    broken.ping().await.unwrap();
    assert_eq!(broken.counts().call_fails, 4);
}

/// Everything that a run shows from outside.
async fn history(seed: u64) -> (Vec<String>, QueueFaultCounts) {
    let queue = FaultyQueue::new(Arc::new(MemoryQueue::new()), seed, QueueFaultRates::all_allowed(200));
    let mut history = Vec::new();
    for batch in 0..40 {
        history.push(format!("{:?}", queue.publish(numbers(batch * 5..batch * 5 + 5)).await));
    }
    let mut consumer = loop {
        match queue.consume("q", OPTIONS).await {
            Ok(consumer) => break consumer,
            Err(error) => history.push(error.to_string()),
        }
    };
    while let Some(Some(delivery)) = consumer.next().now_or_never() {
        let seen = format!("{:?} {}", delivery.body, delivery.redeliveries);
        history.push(format!("{seen} {:?}", delivery.ack().await));
    }
    (history, queue.counts())
}

#[tokio::test]
async fn the_same_seed_gives_the_same_history() {
    let (first, counts) = tokio::task::coop::unconstrained(history(11)).await;
    let (second, same) = tokio::task::coop::unconstrained(history(11)).await;
    let (other, _) = tokio::task::coop::unconstrained(history(12)).await;
    assert_eq!(first, second);
    assert_eq!(counts, same);
    assert_ne!(first, other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_retries_and_a_consumer_that_remembers_get_everything_through() {
    const COUNT: usize = 2_000;
    for seed in 0..5 {
        let queue = FaultyQueue::new(Arc::new(MemoryQueue::new()), seed, QueueFaultRates::all_allowed(100));
        let publishing = async {
            let mut left = numbers(0..COUNT);
            while !left.is_empty() {
                let batch: Vec<Publication> = left.drain(..left.len().min(50)).collect();
                match queue.publish(batch.clone()).await {
                    Ok(outcomes) => {
                        let again =
                            batch.into_iter().zip(outcomes).filter(|(_, outcome)| is_refused(outcome));
                        left.extend(again.map(|(message, _)| message));
                    }
                    Err(_) => left.extend(batch),
                }
            }
        };
        let consuming = async {
            let mut consumer = loop {
                if let Ok(consumer) = queue.consume("q", OPTIONS).await {
                    break consumer;
                }
            };
            let mut seen = BTreeSet::new();
            while seen.len() < COUNT {
                let delivery = consumer.next().await.unwrap();
                seen.insert(delivery.body.clone());
                // Whether it failed or not, what it was about is done.
                let _ = delivery.ack().await;
            }
        };
        let both = futures::future::join(publishing, consuming);
        let done = SystemClock::new().timeout(Duration::from_secs(30), both).await;
        assert!(done.is_ok(), "seed {seed}: {:?}", queue.counts());
    }
}
