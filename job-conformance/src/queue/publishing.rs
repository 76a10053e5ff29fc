//! Cases on [`TaskQueue::publish`](job_core::queue::TaskQueue::publish).

use futures::FutureExt;
use job_core::queue::{Delivery, Publication, PublishOutcome, Settlement};

use super::QueueHarness;
use super::line::{Line, texts, within};

/// One outcome per message, in order, also when they differ.
pub async fn outcomes_come_one_per_message_in_order(harness: &dyn QueueHarness) {
    let connection = harness.connect_undeclaring().await;
    let (known, missing) = (harness.queue_name("known"), harness.queue_name("missing"));
    connection.declare(&known).await.unwrap();
    let names = [&known, &missing, &missing, &known, &known, &missing];
    let messages = names.iter().map(|name| Publication::new(*name, "{}")).collect();
    let outcomes = within("a publish", connection.publish(messages)).await.unwrap();
    let expected =
        names.map(|name| if *name == known { PublishOutcome::Confirmed } else { PublishOutcome::Unroutable });
    assert_eq!(outcomes, expected);
}

/// Nothing to do is done at once.
pub async fn an_empty_batch_has_no_outcomes(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    assert_eq!(within("a publish", line.connection.publish(Vec::new())).await.unwrap(), []);
}

/// Without any consumer the queue keeps it.
pub async fn a_confirmed_message_waits_on_its_queue(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    line.depth_becomes(1).await;
    line.leaves(["a"]).await;
}

/// The backend's settings allow it here.
pub async fn a_missing_queue_is_declared(harness: &dyn QueueHarness) {
    let line = Line::undeclared(harness, "").await;
    line.publish(["a"]).await;
    line.leaves(["a"]).await;
}

/// And it stays missing.
pub async fn a_missing_queue_is_unroutable_when_nothing_declares_it(harness: &dyn QueueHarness) {
    let connection = harness.connect_undeclaring().await;
    let name = harness.queue_name("");
    let publish = connection.publish(vec![Publication::new(name.clone(), "{}")]);
    assert_eq!(within("a publish", publish).await.unwrap(), [PublishOutcome::Unroutable]);
    assert_eq!(connection.depth(&name).await.unwrap(), None);
}

/// Each message goes to its own queue only.
pub async fn a_batch_may_go_to_many_queues(harness: &dyn QueueHarness) {
    let first = Line::new(harness).await;
    let second = Line::new(harness).await;
    let messages = vec![first.message("a"), second.message("b"), first.message("c"), second.message("d")];
    first.publish_messages(messages).await;
    first.leaves(["a", "c"]).await;
    second.leaves(["b", "d"]).await;
}

/// A batch has no practical limit.
pub async fn ten_thousand_messages_in_one_batch_all_arrive(harness: &dyn QueueHarness) {
    const COUNT: usize = 10_000;
    let line = Line::new(harness).await;
    line.publish_numbers(COUNT).await;
    let mut tap = line.consume(1_000).await;
    let mut seen = Vec::with_capacity(COUNT);
    while seen.len() < COUNT {
        let taken = tap.take(500).await;
        seen.extend(texts(&taken));
        Delivery::settle_all(taken, Settlement::Ack).await.unwrap();
    }
    seen.sort_unstable();
    let mut expected: Vec<String> = (0..COUNT).map(|number| number.to_string()).collect();
    expected.sort_unstable();
    assert!(seen == expected, "not every message came exactly once");
}

/// The queue does not remove repeats, whatever their id.
pub async fn a_message_published_twice_is_two_messages(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let message = Publication { message_id: Some("id-1".to_owned()), ..line.message("a") };
    line.publish_messages(vec![message.clone(), message]).await;
    line.leaves(["a", "a"]).await;
}

/// Cancel safety: each of its messages is published or not, and others go through.
pub async fn a_dropped_publish_leaves_the_queue_usable(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    for _ in 0..20 {
        let _ = line.connection.publish(vec![line.message("maybe"); 10]).now_or_never();
    }
    line.publish(["surely"]).await;
    let mut tap = line.consume(50).await;
    loop {
        let delivery = tap.next().await;
        let found = delivery.body == "surely";
        delivery.ack().await.unwrap();
        if found {
            break;
        }
    }
}
