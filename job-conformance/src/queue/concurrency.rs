//! Cases with many at work at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{FutureExt, StreamExt};
use job_core::queue::{Delivery, Publication, PublishOutcome, Settlement};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::QueueHarness;
use super::line::{Line, text, within};

const PRODUCERS: usize = 4;
const BATCHES: usize = 20;
const BATCH: usize = 25;
const MESSAGES: usize = PRODUCERS * BATCHES * BATCH;

/// Starts producers that publish `MESSAGES` different messages between them, over connections of their own.
async fn produce(line: &Line<'_>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for producer in 0..PRODUCERS {
        let connection = line.reconnected().await.connection;
        let name = line.name.clone();
        tasks.spawn(async move {
            for batch in 0..BATCHES {
                let message = |index| Publication::new(name.clone(), format!("{producer}-{batch}-{index}"));
                let outcomes = connection.publish((0..BATCH).map(message).collect()).await.unwrap();
                assert_eq!(outcomes, [const { PublishOutcome::Confirmed }; BATCH]);
            }
        });
    }
    tasks
}

/// Every message is acked, none twice.
pub async fn every_message_of_many_producers_is_settled_once_by_many_consumers(harness: &dyn QueueHarness) {
    const CONSUMERS: usize = 4;
    let line = Line::new(harness).await;
    let (tx, mut rx) = mpsc::unbounded_channel();
    let mut consumers = JoinSet::new();
    for consumer in 0..CONSUMERS {
        let tap = line.reconnected().await.consume(30).await;
        let tx = tx.clone();
        consumers.spawn(async move {
            // Each with batches of its own size.
            let mut batches = tap.consumer.ready_chunks(1 + consumer * 7);
            while let Some(batch) = batches.next().await {
                let bodies: Vec<String> = batch.iter().map(text).collect();
                Delivery::settle_all(batch, Settlement::Ack).await.unwrap();
                if bodies.into_iter().any(|body| tx.send(body).is_err()) {
                    break;
                }
            }
        });
    }
    let producers = produce(&line).await;

    let mut settled = BTreeMap::<String, usize>::new();
    for _ in 0..MESSAGES {
        let body = within("the next settled message", rx.recv()).await.unwrap();
        *settled.entry(body).or_default() += 1;
    }
    assert_eq!(settled.len(), MESSAGES);
    within("the producers' end", producers.join_all()).await;
    consumers.shutdown().await;
    line.leaves([""; 0]).await;
}

/// Consumers that end in the middle of everything, with deliveries in hand and fetched ahead.
pub async fn consumers_come_and_go_and_nothing_is_lost(harness: &dyn QueueHarness) {
    const CONSUMERS: usize = 3;
    let line = Line::new(harness).await;
    let acked = Arc::new(AtomicUsize::new(0));
    let (tx, mut rx) = mpsc::unbounded_channel();
    let mut consumers = JoinSet::new();
    for _ in 0..CONSUMERS {
        let line = line.reconnected().await;
        let (connection, name) = (line.connection, line.name);
        let (tx, acked) = (tx.clone(), Arc::clone(&acked));
        consumers.spawn(async move {
            let options = job_core::queue::ConsumeOptions { prefetch: 20 };
            while acked.load(Ordering::SeqCst) < MESSAGES {
                let mut consumer = connection.consume(&name, options).await.unwrap();
                let mut kept = Vec::new();
                for turn in 0..40 {
                    let ready = consumer.next().now_or_never();
                    let next = match ready {
                        Some(next) => next,
                        None => {
                            // All consumers keeping the last messages from each other would wait for ever.
                            kept.clear();
                            consumer.next().await
                        }
                    };
                    let Some(delivery) = next else { return };
                    // Once each: brokers set a limit to redeliveries.
                    match turn % 4 {
                        0 if delivery.redeliveries == 0 => delivery.requeue().await.unwrap(),
                        1 if delivery.redeliveries == 0 => drop(delivery),
                        2 if delivery.redeliveries == 0 => kept.push(delivery),
                        _ => {
                            let body = text(&delivery);
                            delivery.ack().await.unwrap();
                            acked.fetch_add(1, Ordering::SeqCst);
                            if tx.send(body).is_err() {
                                return;
                            }
                        }
                    }
                }
                drop(consumer);
                drop(kept);
            }
        });
    }
    let producers = produce(&line).await;

    let mut settled = BTreeMap::<String, usize>::new();
    while settled.len() < MESSAGES {
        let body = within("the next settled message", rx.recv()).await.unwrap();
        *settled.entry(body).or_default() += 1;
    }
    assert!(settled.values().all(|count| *count == 1), "a message was settled twice");
    within("the producers' end", producers.join_all()).await;
    consumers.shutdown().await;
    line.leaves([""; 0]).await;
}

/// Confirms of one connection's batches are told apart.
pub async fn concurrent_batches_keep_their_own_outcomes(harness: &dyn QueueHarness) {
    let connection = harness.connect_undeclaring().await;
    let (known, missing) = (harness.queue_name("known"), harness.queue_name("missing"));
    connection.declare(&known).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..8_usize {
        let connection = Arc::clone(&connection);
        let (known, missing) = (known.clone(), missing.clone());
        tasks.spawn(async move {
            for round in 0..20 {
                let is_known = |index: usize| !(index + task + round).is_multiple_of(3);
                let name = |index| if is_known(index) { &known } else { &missing };
                let messages = (0..10).map(|index| Publication::new(name(index), "{}")).collect();
                let outcomes = connection.publish(messages).await.unwrap();
                let expected: Vec<PublishOutcome> = (0..10)
                    .map(|index| match is_known(index) {
                        true => PublishOutcome::Confirmed,
                        false => PublishOutcome::Unroutable,
                    })
                    .collect();
                assert_eq!(outcomes, expected);
            }
        });
    }
    within("all batches", tasks.join_all()).await;
}
