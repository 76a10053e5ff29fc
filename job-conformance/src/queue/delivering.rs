//! Cases on consumers: waking, prefetch, sharing.

use futures::{FutureExt, StreamExt};
use job_core::queue::{Delivery, Settlement};
use tokio::task::JoinSet;

use super::QueueHarness;
use super::line::{Line, text, texts, within};

/// Whoever waits learns of a message, again and again.
pub async fn a_waiting_consumer_is_woken(harness: &dyn QueueHarness) {
    const ROUNDS: usize = 50;
    let line = Line::new(harness).await;
    let mut tap = line.consume(1).await;
    let (tx, mut rx) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for _ in 0..ROUNDS {
            let delivery = tap.next().await;
            let body = text(&delivery);
            delivery.ack().await.unwrap();
            tx.send(body).unwrap();
        }
    });
    for round in 0..ROUNDS {
        line.publish([round.to_string()]).await;
        let came = within("the consumer's answer", rx.recv()).await;
        assert_eq!(came, Some(round.to_string()));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Messages wait for consumers, not the other way round.
pub async fn a_consumer_gets_what_waited_before_it(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a", "b"]).await;
    let mut tap = line.reconnected().await.consume(10).await;
    assert_eq!(texts(&tap.take(2).await), ["a", "b"]);
}

/// The other consumers could not get the rest if this one had more than its share, at first or after a settlement.
pub async fn prefetch_is_never_exceeded(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(13).await;
    let mut tap = line.consume(3).await;
    let mut held = tap.take(3).await;
    assert!(tap.is_quiet());
    line.depth_becomes(10).await;

    let mut second = line.consume(7).await;
    let others = second.take(7).await;
    line.depth_becomes(3).await;

    held.remove(0).ack().await.unwrap();
    held.push(tap.next().await);
    line.depth_becomes(2).await;
    let mut third = line.consume(2).await;
    let rest = third.take(2).await;
    assert!(tap.is_quiet() && second.is_quiet() && third.is_quiet());
    drop((held, others, rest));
}

/// Ack, requeue, reject and drop alike.
pub async fn every_settlement_makes_room(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(3).await;
    let mut tap = line.consume(1).await;
    tap.next().await.ack().await.unwrap();
    tap.next().await.reject().await.unwrap();
    tap.next().await.requeue().await.unwrap();
    drop(tap.next().await);
    tap.next().await.ack().await.unwrap();
    line.leaves([""; 0]).await;
}

/// The smallest prefetch is enough.
pub async fn a_prefetch_of_one_delivers_everything_one_by_one(harness: &dyn QueueHarness) {
    const COUNT: usize = 200;
    let line = Line::new(harness).await;
    line.publish_numbers(COUNT).await;
    let mut tap = line.consume(1).await;
    for _ in 0..COUNT {
        let delivery = tap.next().await;
        assert!(tap.is_quiet(), "a second delivery came before the first was settled");
        delivery.ack().await.unwrap();
    }
    line.leaves([""; 0]).await;
}

/// Together they get everything, nothing twice.
pub async fn consumers_share_a_queue(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let far = line.reconnected().await;
    let mut taps = [line.consume(4).await, line.consume(4).await, far.consume(4).await];
    line.publish_numbers(12).await;
    let mut held = Vec::new();
    for tap in &mut taps {
        held.extend(tap.take(4).await);
    }
    let mut expected: Vec<String> = (0..12).map(|number| number.to_string()).collect();
    expected.sort_unstable();
    assert_eq!(texts(&held), expected);
}

/// A worker that has stopped settling gets no more, and its neighbour gets all.
pub async fn a_full_consumer_holds_up_no_other(harness: &dyn QueueHarness) {
    const COUNT: usize = 300;
    let line = Line::new(harness).await;
    line.publish(["held"]).await;
    let mut full = line.consume(1).await;
    let held = full.next().await;
    line.publish_numbers(COUNT).await;
    let mut tap = line.consume(10).await;
    for _ in 0..COUNT {
        tap.next().await.ack().await.unwrap();
    }
    held.ack().await.unwrap();
    line.leaves([""; 0]).await;
}

/// One queue's trouble is its own, also on one connection.
pub async fn a_backlog_holds_up_no_other_queue(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(2_000).await;
    let mut stuck = line.consume(10).await;
    let held = stuck.take(10).await;
    let other = harness.queue_name("other");
    let messages = (0..100).map(|_| job_core::queue::Publication::new(other.clone(), "{}")).collect();
    line.publish_messages(messages).await;
    let options = job_core::queue::ConsumeOptions { prefetch: 10 };
    let mut free = line.connection.consume(&other, options).await.unwrap();
    for _ in 0..100 {
        let delivery = within("a delivery of the other queue", free.next()).await.unwrap();
        delivery.ack().await.unwrap();
    }
    Delivery::settle_all(held, Settlement::Ack).await.unwrap();
}

/// `select!` drops the losing branch; a delivery must not go with it.
pub async fn a_poll_given_up_loses_nothing(harness: &dyn QueueHarness) {
    const COUNT: usize = 100;
    let line = Line::new(harness).await;
    let mut tap = line.consume(5).await;
    let mut seen = Vec::new();
    for number in 0..COUNT {
        line.publish([number.to_string()]).await;
        if let Some(delivery) = tap.consumer.next().now_or_never() {
            let delivery = delivery.unwrap();
            seen.push(text(&delivery));
            delivery.ack().await.unwrap();
        }
    }
    while seen.len() < COUNT {
        let delivery = tap.next().await;
        seen.push(text(&delivery));
        delivery.ack().await.unwrap();
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), COUNT);
}
