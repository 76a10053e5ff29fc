//! Cases on [`TaskQueue::close`](job_core::queue::TaskQueue::close).

use std::future::poll_fn;

use futures::StreamExt;
use job_core::ErrorKind;
use job_core::queue::{ConsumeOptions, Delivery, Settlement};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::QueueHarness;
use super::line::{Line, texts, within};

/// A loop over a consumer ends by itself.
pub async fn streams_end(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let mut taps = [line.consume(1).await, line.consume(10).await];
    line.connection.close().await;
    for tap in &mut taps {
        assert!(tap.rest().await.is_empty());
    }
}

/// It would wait for ever otherwise.
pub async fn a_waiting_consumer_is_woken_and_ends(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let mut tap = line.consume(1).await;
    let (tx, waits) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut tx = Some(tx);
        let end = poll_fn(|cx| {
            let next = tap.consumer.poll_next_unpin(cx);
            if next.is_pending()
                && let Some(tx) = tx.take()
            {
                tx.send(()).unwrap();
            }
            next
        });
        assert!(end.await.is_none());
    });
    within("the consumer's wait", waits).await.unwrap();
    line.connection.close().await;
    within("the end of the stream", tasks.join_next()).await.unwrap().unwrap();
}

/// Though nobody dropped it.
pub async fn what_was_in_hand_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(3).await;
    let held = line.consume(3).await.take(3).await;
    line.leaves(texts(&held)).await;
}

/// Fetched ahead, never seen.
pub async fn what_was_not_taken_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(10).await;
    let mut tap = line.consume(10).await;
    tap.next().await.ack().await.unwrap();
    let held = tap.next().await;
    let other = line.reconnected().await;
    line.connection.close().await;
    let rest = other.consume(20).await.take(9).await;
    assert!(texts(&rest).contains(&texts(&[held])[0]));
}

/// The holder must know that somebody else will do it.
pub async fn settling_afterwards_is_unavailable(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(6).await;
    let mut held = line.consume(6).await.take(6).await;
    let expected = texts(&held);
    line.connection.close().await;
    let batch = held.split_off(3);
    let errors = [
        held.remove(0).ack().await,
        held.remove(0).requeue().await,
        held.remove(0).reject().await,
        Delivery::settle_all(batch, Settlement::Ack).await,
    ]
    .map(Result::unwrap_err);
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_transient());
    }
    line.leaves(expected).await;
}

/// Every one of them, and none hangs.
pub async fn later_calls_are_unavailable(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let queue = &line.connection;
    queue.close().await;
    let errors = [
        within("a publish", queue.publish(vec![line.message("a")])).await.map(drop),
        within("a consume", queue.consume(&line.name, ConsumeOptions { prefetch: 1 })).await.map(drop),
        within("a declare", queue.declare(&line.name)).await,
        within("a look at the depth", queue.depth(&line.name)).await.map(drop),
        within("a ping", queue.ping()).await,
    ]
    .map(Result::unwrap_err);
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
    line.leaves([""; 0]).await;
}

/// Also at the same time.
pub async fn twice_is_harmless(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let queue = &line.connection;
    within("two closes", futures::future::join(queue.close(), queue.close())).await;
    within("a third close", queue.close()).await;
}

/// A connection is not the broker.
pub async fn other_connections_stay_open(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let other = line.reconnected().await;
    let mut tap = other.consume(1).await;
    line.connection.close().await;
    other.connection.ping().await.unwrap();
    other.publish(["a"]).await;
    tap.next().await.ack().await.unwrap();
}

/// Confirmed means that it is the queue's business now.
pub async fn confirmed_messages_stay(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(100).await;
    line.leaves(0..100).await;
}
