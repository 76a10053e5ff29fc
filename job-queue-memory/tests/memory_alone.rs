//! What only the queue in memory promises: capacity, undeclared queues, dead letters, an operator's deletions.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt};
use job_core::ErrorKind;
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Publication, PublishOutcome, Settlement, TaskQueue,
};
use job_queue_memory::{MemoryQueue, MemoryQueueOptions};

const QUEUE: &str = "q";

async fn publish(queue: &MemoryQueue, to: &str, bodies: &[&'static str]) -> Vec<PublishOutcome> {
    queue.publish(bodies.iter().map(|body| Publication::new(to, *body)).collect()).await.unwrap()
}

async fn consume(queue: &MemoryQueue, from: &str, prefetch: u16) -> Consumer {
    queue.consume(from, ConsumeOptions { prefetch }).await.unwrap()
}

/// What is there now: this queue hands out within the call that makes it possible.
fn ready(consumer: &mut Consumer) -> Vec<Delivery> {
    std::iter::from_fn(|| consumer.next().now_or_never().flatten()).collect()
}

fn bodies(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| std::str::from_utf8(&delivery.body).unwrap()).collect()
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_reason_and_keeps_what_it_has() {
    let options = MemoryQueueOptions { capacity_messages: 2, ..MemoryQueueOptions::default() };
    let queue = MemoryQueue::with_options(options);
    let outcomes = publish(&queue, QUEUE, &["a", "b", "c"]).await;
    assert_eq!(outcomes[..2], [PublishOutcome::Confirmed, PublishOutcome::Confirmed]);
    assert!(matches!(&outcomes[2], PublishOutcome::Refused { reason } if reason.contains("2 messages")));
    assert_eq!(publish(&queue, "other", &["x"]).await, [PublishOutcome::Confirmed]);

    let mut consumer = consume(&queue, QUEUE, 10).await;
    let taken = ready(&mut consumer);
    assert_eq!(bodies(&taken), ["a", "b"]);
    assert!(matches!(publish(&queue, QUEUE, &["d"]).await[0], PublishOutcome::Refused { .. }));
    Delivery::settle_all(taken, Settlement::Ack).await.unwrap();
    assert_eq!(publish(&queue, QUEUE, &["e"]).await, [PublishOutcome::Confirmed]);
}

#[tokio::test]
async fn bytes_are_bounded_and_given_back() {
    let options = MemoryQueueOptions { capacity_bytes: 4, ..MemoryQueueOptions::default() };
    let queue = MemoryQueue::with_options(options);
    let outcomes = publish(&queue, QUEUE, &["abc", "de", "f"]).await;
    assert!(matches!(
        &outcomes[..],
        [PublishOutcome::Confirmed, PublishOutcome::Refused { .. }, PublishOutcome::Confirmed]
    ));
    assert_eq!(queue.purge(QUEUE), 2);
    assert_eq!(publish(&queue, QUEUE, &["abcd"]).await, [PublishOutcome::Confirmed]);
}

#[tokio::test]
async fn a_returned_message_is_taken_back_even_when_the_queue_is_full() {
    let options = MemoryQueueOptions { capacity_messages: 1, ..MemoryQueueOptions::default() };
    let queue = MemoryQueue::with_options(options);
    publish(&queue, QUEUE, &["a"]).await;
    let mut consumer = consume(&queue, QUEUE, 1).await;
    drop(ready(&mut consumer));
    assert_eq!(bodies(&ready(&mut consumer)), ["a"]);
}

#[tokio::test]
async fn without_declare_on_publish_a_missing_queue_is_unroutable() {
    let options = MemoryQueueOptions { declare_on_publish: false, ..MemoryQueueOptions::default() };
    let queue = MemoryQueue::with_options(options);
    assert_eq!(publish(&queue, QUEUE, &["a"]).await, [PublishOutcome::Unroutable]);
    assert_eq!(queue.depth(QUEUE).await.unwrap(), None);
    queue.declare(QUEUE).await.unwrap();
    assert_eq!(publish(&queue, QUEUE, &["a"]).await, [PublishOutcome::Confirmed]);
    assert!(queue.delete_queue(QUEUE));
    assert!(!queue.delete_queue(QUEUE));
    assert_eq!(publish(&queue, QUEUE, &["a"]).await, [PublishOutcome::Unroutable]);
}

#[tokio::test]
async fn consumers_outlive_the_deletion_of_their_queue() {
    let queue = MemoryQueue::new();
    let mut consumer = consume(&queue, QUEUE, 2).await;
    publish(&queue, QUEUE, &["in hand", "assigned", "waiting"]).await;
    let in_hand = consumer.next().await.unwrap();
    assert!(queue.delete_queue(QUEUE));
    assert_eq!(queue.depth(QUEUE).await.unwrap(), None);
    drop(in_hand);
    assert_eq!(queue.depth(QUEUE).await.unwrap(), None);
    assert!(ready(&mut consumer).is_empty());

    publish(&queue, QUEUE, &["new"]).await;
    assert_eq!(bodies(&ready(&mut consumer)), ["new"]);
}

#[tokio::test]
async fn consumers_take_turns() {
    let queue = MemoryQueue::new();
    let mut first = consume(&queue, QUEUE, 100).await;
    let mut second = consume(&queue, QUEUE, 100).await;
    let mut third = consume(&queue, QUEUE, 1).await;
    publish(&queue, QUEUE, &["a", "b", "c", "d", "e"]).await;
    let taken = [ready(&mut first), ready(&mut second), ready(&mut third)];
    assert_eq!(bodies(&taken[0]), ["a", "d"]);
    assert_eq!(bodies(&taken[1]), ["b", "e"]);
    assert_eq!(bodies(&taken[2]), ["c"]);
}

#[tokio::test]
async fn a_returned_message_takes_its_old_place() {
    let queue = MemoryQueue::new();
    publish(&queue, QUEUE, &["a", "b", "c", "d"]).await;
    let mut consumer = consume(&queue, QUEUE, 3).await;
    let mut taken = ready(&mut consumer);
    drop(taken.swap_remove(1));
    drop(taken.swap_remove(0));
    drop(consumer);
    let mut next = consume(&queue, QUEUE, 10).await;
    assert_eq!(bodies(&ready(&mut next)), ["a", "b", "d"]);
}

#[tokio::test]
async fn what_nobody_had_in_hand_does_not_count_as_delivered() {
    let queue = MemoryQueue::new();
    publish(&queue, QUEUE, &["a", "b"]).await;
    let mut consumer = consume(&queue, QUEUE, 10).await;
    drop(consumer.next().await);
    drop(consumer);
    let mut next = consume(&queue, QUEUE, 10).await;
    let counts: Vec<u32> = ready(&mut next).iter().map(|delivery| delivery.redeliveries).collect();
    assert_eq!(counts, [1, 0]);
}

#[tokio::test]
async fn rejected_messages_go_where_the_operator_wants_them() {
    let dead_letter_queues = BTreeMap::from([(QUEUE.to_owned(), "dead".to_owned())]);
    let queue =
        MemoryQueue::with_options(MemoryQueueOptions { dead_letter_queues, ..MemoryQueueOptions::default() });
    publish(&queue, QUEUE, &["a"]).await;
    let mut consumer = consume(&queue, QUEUE, 1).await;
    consumer.next().await.unwrap().reject().await.unwrap();

    let mut dead = consume(&queue, "dead", 1).await;
    let letter = dead.next().await.unwrap();
    assert_eq!(letter.body, "a");
    assert_eq!(letter.headers.get("x-first-death-queue").map(String::as_str), Some(QUEUE));
    letter.reject().await.unwrap();
    assert_eq!((queue.depth(QUEUE).await.unwrap(), queue.depth("dead").await.unwrap()), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_closed_connection_leaves_the_others_open_and_its_messages_to_them() {
    let queue = MemoryQueue::new();
    let other = queue.connect();
    publish(&queue, QUEUE, &["a", "b"]).await;
    let mut consumer = consume(&queue, QUEUE, 10).await;
    let in_hand = consumer.next().await.unwrap();
    let mut waiting = consume(&other, QUEUE, 10).await;
    queue.close().await;
    assert_eq!(in_hand.ack().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(consumer.next().await.is_none());
    assert_eq!(bodies(&ready(&mut waiting)), ["a", "b"]);
}

#[tokio::test]
async fn names_that_no_broker_could_carry_are_refused() {
    let queue = MemoryQueue::new();
    for name in ["", &"x".repeat(256)] {
        assert_eq!(queue.declare(name).await.unwrap_err().kind(), ErrorKind::Invalid);
        let reason = "a queue's name has between 1 and 255 bytes".to_owned();
        assert_eq!(publish(&queue, name, &["a"]).await, [PublishOutcome::Refused { reason }]);
        let refused = queue.consume(name, ConsumeOptions { prefetch: 1 }).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let refused = queue.consume(QUEUE, ConsumeOptions { prefetch: 0 }).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "current_thread")]
async fn a_busy_consumer_yields_to_its_neighbours() {
    let queue = MemoryQueue::new();
    publish(&queue, QUEUE, &["a"]).await;
    let mut consumer = consume(&queue, QUEUE, 1).await;
    let (tx, mut rx) = tokio::sync::oneshot::channel();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        // Comes back for ever without ever waiting.
        while rx.try_recv().is_err() {
            drop(consumer.next().await);
        }
    });
    tasks.spawn(async move { tx.send(()).unwrap() });
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
