//! Cases on deliveries that nobody settled.

use job_core::queue::Publication;
use tokio::task::JoinSet;

use super::QueueHarness;
use super::line::{Line, headers, texts};

/// Forgetting is requeueing.
pub async fn a_dropped_delivery_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    drop(tap.next().await);
    let again = tap.next().await;
    assert_eq!(again.body, "a");
    again.ack().await.unwrap();
    line.leaves([""; 0]).await;
}

/// Unwinding is dropping.
pub async fn a_delivery_dropped_by_a_panic_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    let delivery = tap.next().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _delivery = delivery;
        // Without the panic hook's output, which would look like a failed test.
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_panic());
    tap.next().await.ack().await.unwrap();
    line.leaves([""; 0]).await;
}

/// Cancelling a task is dropping, too.
pub async fn a_delivery_of_an_aborted_task_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    let delivery = tap.next().await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let _delivery = delivery;
        std::future::pending::<()>().await;
    });
    tasks.abort_all();
    assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    tap.next().await.ack().await.unwrap();
    line.leaves([""; 0]).await;
}

/// What a consumer had fetched ahead is not stranded.
pub async fn a_dropped_consumer_gives_back_what_it_did_not_take(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(20).await;
    let mut tap = line.consume(20).await;
    let first = tap.next().await;
    drop(tap);
    let mut other = line.consume(20).await;
    let rest = other.take(19).await;
    assert!(!texts(&rest).contains(&texts(&[first])[0]));
}

/// Its holder's word is still good.
pub async fn a_delivery_dropped_after_its_consumer_comes_again(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    let delivery = tap.next().await;
    drop(tap);
    let mut other = line.consume(1).await;
    assert!(other.is_quiet());
    drop(delivery);
    assert_eq!(other.next().await.body, "a");
}

/// To anybody: here only the other one has room.
pub async fn a_requeued_message_may_go_to_another_consumer(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    let delivery = tap.next().await;
    drop(tap);
    let mut other = line.reconnected().await.consume(1).await;
    delivery.requeue().await.unwrap();
    assert_eq!(other.next().await.body, "a");
}

/// None before the first; at least one for a repeat; each where the backend counts.
pub async fn redeliveries_are_counted(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    let mut tap = line.consume(1).await;
    for round in 0..5 {
        let delivery = tap.next().await;
        let expected = if harness.counts_redeliveries() { round } else { round.min(1) };
        assert_eq!(delivery.redeliveries, expected);
        if round % 2 == 0 { drop(delivery) } else { delivery.requeue().await.unwrap() }
    }
    // One message's past is not another's.
    tap.next().await.ack().await.unwrap();
    line.publish(["b"]).await;
    assert_eq!(tap.next().await.redeliveries, 0);
}

/// The repeat is the same message.
pub async fn content_survives_redelivery(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let sent = headers([("x-caf-worker-retry", "7"), ("other", "ü")]);
    line.publish_messages(vec![Publication { headers: sent.clone(), ..line.message(vec![0xff; 5_000]) }])
        .await;
    let mut tap = line.consume(1).await;
    drop(tap.next().await);
    let again = tap.next().await;
    assert_eq!(again.body, vec![0xff; 5_000]);
    assert_eq!(again.queue, line.name);
    for (name, value) in &sent {
        assert_eq!(again.headers.get(name), Some(value));
    }
}
