//! Cases on queues that somebody deletes while they are in use.

use std::sync::Arc;

use job_core::ErrorKind;
use job_core::queue::{Delivery, PublishOutcome};

use super::QueueHarness;
use super::line::{Line, Tap, glance, text, within};

/// Publishes until the queue takes it: a broker may be busy with the deletion for a moment.
async fn publish_again(line: &Line<'_>, body: &str) {
    let publish = async || {
        let outcomes =
            within("a publish", line.connection.publish(vec![line.message(body.to_owned())])).await;
        outcomes.is_ok_and(|outcomes| outcomes == [PublishOutcome::Confirmed])
    };
    within(&format!("the publish of {body}"), async {
        while !publish().await {
            glance().await;
        }
    })
    .await;
}

/// Takes until `body` comes. What was fetched off the queue that is gone may come before.
async fn take_until(tap: &mut Tap, body: &str) -> Delivery {
    loop {
        let delivery = tap.next().await;
        if text(&delivery) == body {
            return delivery;
        }
        settle(delivery).await;
    }
}

/// It may come too late, as over a lost connection, and must say so then.
async fn settle(delivery: Delivery) {
    if let Err(error) = within("an ack", delivery.ack()).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
}

/// The stream neither ends nor stays silent, however often that happens.
pub async fn a_consumer_goes_on_when_its_queue_exists_again(harness: &dyn QueueHarness) {
    if !harness.deletes_at_once() {
        return eprintln!("left out: the backend goes on deleting");
    }
    let line = Line::new(harness).await;
    let mut tap = line.consume(10).await;
    for round in ["first", "second", "third"] {
        publish_again(&line, round).await;
        take_until(&mut tap, round).await.ack().await.unwrap();
        harness.delete_queue(&line.name).await;
    }
    publish_again(&line, "last").await;
    take_until(&mut tap, "last").await.ack().await.unwrap();
    drop(tap);
    line.leaves([""; 0]).await;
}

/// Also when they wait over connections of their own.
pub async fn all_consumers_of_a_deleted_queue_go_on(harness: &dyn QueueHarness) {
    if !harness.deletes_at_once() {
        return eprintln!("left out: the backend goes on deleting");
    }
    let line = Line::new(harness).await;
    let other = line.reconnected().await;
    let mut taps = [line.consume(1).await, other.consume(1).await];
    harness.delete_queue(&line.name).await;
    publish_again(&line, "a").await;
    publish_again(&line, "b").await;
    // Each has room for one: both are needed.
    let held = [taps[0].next().await, taps[1].next().await];
    let mut bodies = held.each_ref().map(text);
    bodies.sort_unstable();
    assert_eq!(bodies, ["a", "b"]);
    for delivery in held {
        delivery.ack().await.unwrap();
    }
}

/// Its messages are gone, those in hand included: settling them does no harm, and they do not come again.
pub async fn what_was_in_hand_can_be_settled_and_does_not_come_again(harness: &dyn QueueHarness) {
    if !harness.deletes_at_once() {
        return eprintln!("left out: the backend goes on deleting");
    }
    let line = Line::new(harness).await;
    line.publish_numbers(4).await;
    let mut tap = line.consume(4).await;
    let mut held = tap.take(4).await;
    harness.delete_queue(&line.name).await;
    settle(held.remove(0)).await;
    if let Err(error) = held.remove(0).requeue().await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    publish_again(&line, "new").await;
    drop(held.remove(0));
    take_until(&mut tap, "new").await.ack().await.unwrap();
    settle(held.remove(0)).await;
    drop(tap);
    line.leaves([""; 0]).await;
}

/// What is in hand of another queue over the same connection is as good as before.
pub async fn other_queues_do_not_notice(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let mut gone = line.reconnected().await;
    gone.connection = Arc::clone(&line.connection);
    gone.name = harness.queue_name("gone");
    gone.connection.declare(&gone.name).await.unwrap();
    line.publish_numbers(2).await;
    let (mut tap, _gone_tap) = (line.consume(2).await, gone.consume(1).await);
    let held = tap.take(2).await;
    harness.delete_queue(&gone.name).await;
    publish_again(&gone, "again").await;
    for delivery in held {
        delivery.ack().await.unwrap();
    }
    line.publish(["after"]).await;
    let after = tap.next().await;
    assert_eq!((text(&after).as_str(), after.redeliveries), ("after", 0));
    after.ack().await.unwrap();
    line.leaves([""; 0]).await;
}

/// As one that never was.
pub async fn a_deleted_queue_has_no_depth(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["lost"]).await;
    harness.delete_queue(&line.name).await;
    assert_eq!(line.connection.depth(&line.name).await.unwrap(), None);
    publish_again(&line, "new").await;
    line.leaves(["new"]).await;
}
