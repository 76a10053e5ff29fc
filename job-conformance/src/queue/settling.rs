//! Cases on the three ends of a delivery, one by one and in batches.

use job_core::queue::{Delivery, Settlement};

use super::QueueHarness;
use super::line::{Line, text, texts};

const NOTHING: [&str; 0] = [];

/// Also once its connection is gone.
pub async fn an_acked_message_is_gone(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    line.consume(1).await.next().await.ack().await.unwrap();
    line.leaves(NOTHING).await;
}

/// Where no dead-letter queue is configured.
pub async fn a_rejected_message_is_gone(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    line.consume(1).await.next().await.reject().await.unwrap();
    line.leaves(NOTHING).await;
}

/// Until somebody acks it.
pub async fn a_requeued_message_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    for _ in 0..3 {
        let delivery = tap.next().await;
        assert_eq!(delivery.body, "a");
        delivery.requeue().await.unwrap();
    }
    tap.next().await.ack().await.unwrap();
    line.leaves(NOTHING).await;
}

/// Settling is not "up to and including".
pub async fn settling_one_leaves_older_ones_in_hand(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(4).await;
    let mut tap = line.consume(4).await;
    let mut held = tap.take(4).await;
    let last = held.pop().unwrap();
    let second = held.remove(1);
    last.ack().await.unwrap();
    second.reject().await.unwrap();
    let left = texts(&held);
    drop(held);
    line.leaves(left).await;
}

/// Work finishes in any order.
pub async fn deliveries_may_be_settled_in_any_order(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(30).await;
    let mut held = line.consume(30).await.take(30).await;
    held.reverse();
    let mut index = 0;
    while !held.is_empty() {
        index = (index + 7) % held.len();
        held.swap_remove(index).ack().await.unwrap();
    }
    line.leaves(NOTHING).await;
}

/// A backend may settle runs of tags at once, but only true runs.
pub async fn a_batch_with_gaps_settles_no_more_than_it_names(harness: &dyn QueueHarness) {
    const COUNT: usize = 60;
    let line = Line::new(harness).await;
    line.publish_numbers(COUNT).await;
    let held = line.consume(100).await.take(COUNT).await;
    let (mut acked, mut kept) = (Vec::new(), Vec::new());
    for (index, delivery) in held.into_iter().enumerate() {
        if index % 5 < 3 { acked.push(delivery) } else { kept.push(delivery) }
    }
    // Not in the order of arrival either.
    acked.rotate_left(7);
    acked.swap(0, 20);
    Delivery::settle_all(acked, Settlement::Ack).await.unwrap();
    let left = texts(&kept);
    drop(kept);
    line.leaves(left).await;
}

/// As the tracker does.
pub async fn a_large_batch_is_acked_at_once(harness: &dyn QueueHarness) {
    const COUNT: usize = 2_000;
    let line = Line::new(harness).await;
    line.publish_numbers(COUNT).await;
    let held = line.consume(2_000).await.take(COUNT).await;
    Delivery::settle_all(held, Settlement::Ack).await.unwrap();
    line.leaves(NOTHING).await;
}

/// As after a failed transaction.
pub async fn a_batch_is_requeued_whole(harness: &dyn QueueHarness) {
    const COUNT: usize = 200;
    let line = Line::new(harness).await;
    line.publish_numbers(COUNT).await;
    let mut tap = line.consume(200).await;
    let held = tap.take(COUNT).await;
    let before = texts(&held);
    Delivery::settle_all(held, Settlement::Requeue).await.unwrap();
    let again = tap.take(COUNT).await;
    assert_eq!(texts(&again), before);
    Delivery::settle_all(again, Settlement::Ack).await.unwrap();
    line.leaves(NOTHING).await;
}

/// None of them comes again.
pub async fn a_batch_is_rejected_whole(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(50).await;
    let held = line.consume(50).await.take(50).await;
    Delivery::settle_all(held, Settlement::Reject).await.unwrap();
    line.leaves(NOTHING).await;
}

/// A delivery knows where it came from.
pub async fn a_batch_may_span_consumers_queues_and_connections(harness: &dyn QueueHarness) {
    let first = Line::new(harness).await;
    let second = Line::new(harness).await;
    first.publish_numbers(4).await;
    second.publish_numbers(4).await;
    let (mut one, mut two) = (first.consume(2).await, first.consume(2).await);
    let mut three = second.consume(4).await;
    let mut mixed = Vec::new();
    let mut kept = three.take(4).await;
    let left = text(&kept[0]);
    mixed.extend(kept.drain(1..));
    for _ in 0..2 {
        mixed.push(one.next().await);
        mixed.push(two.next().await);
    }
    mixed.rotate_left(2);
    Delivery::settle_all(mixed, Settlement::Ack).await.unwrap();
    drop(kept);
    first.leaves(NOTHING).await;
    second.leaves([left]).await;
}

/// Whoever has nothing to settle need not check.
pub async fn an_empty_batch_settles_nothing(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let held = line.consume(1).await.next().await;
    for settlement in [Settlement::Ack, Settlement::Requeue, Settlement::Reject] {
        Delivery::settle_all(Vec::new(), settlement).await.unwrap();
    }
    drop(held);
    line.leaves(["a"]).await;
}

/// A runner that stops taking finishes what it has.
pub async fn a_delivery_outlives_its_consumer(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(3).await;
    let mut tap = line.consume(2).await;
    let held = tap.take(2).await;
    let in_hand = texts(&held);
    drop(tap);
    let mut other = line.consume(10).await;
    let third = other.next().await;
    assert!(!in_hand.contains(&text(&third)), "a message was in two hands");
    assert!(other.is_quiet());
    Delivery::settle_all(held, Settlement::Ack).await.unwrap();
    third.ack().await.unwrap();
    line.leaves(NOTHING).await;
}
