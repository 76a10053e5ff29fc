//! Cases on queues and their names.

use job_core::queue::{ConsumeOptions, Delivery, Publication, PublishOutcome, Settlement};

use super::QueueHarness;
use super::line::{Line, within};

/// A queue that exists is used as it is.
pub async fn declaring_twice_keeps_what_is_there(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish(["a"]).await;
    line.connection.declare(&line.name).await.unwrap();
    line.reconnected().await.connection.declare(&line.name).await.unwrap();
    line.leaves(["a"]).await;
}

/// And asking does not declare it.
pub async fn a_missing_queue_has_no_depth(harness: &dyn QueueHarness) {
    let line = Line::undeclared(harness, "").await;
    for _ in 0..2 {
        assert_eq!(line.connection.depth(&line.name).await.unwrap(), None);
    }
}

/// Which is not the same as missing.
pub async fn a_declared_queue_is_empty(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    assert_eq!(line.connection.depth(&line.name).await.unwrap(), Some(0));
}

/// What a consumer has is not waiting.
pub async fn depth_does_not_count_what_is_in_hand(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    line.publish_numbers(5).await;
    line.depth_becomes(5).await;
    let mut tap = line.consume(2).await;
    let held = tap.take(2).await;
    line.depth_becomes(3).await;
    drop(tap);
    line.depth_becomes(3).await;
    Delivery::settle_all(held, Settlement::Requeue).await.unwrap();
    line.depth_becomes(5).await;
}

/// A worker may come before its first message.
pub async fn consuming_declares_a_missing_queue(harness: &dyn QueueHarness) {
    let line = Line::undeclared(harness, "").await;
    let mut tap = line.consume(1).await;
    assert_eq!(line.connection.depth(&line.name).await.unwrap(), Some(0));
    line.publish(["a"]).await;
    assert_eq!(tap.next().await.body, "a");
}

/// Names are text, not identifiers.
pub async fn names_may_be_of_any_script(harness: &dyn QueueHarness) {
    for suffix in ["größe", "очередь", "队列-🚀", "with space/slash:colon.dot#hash*", "a%2Fb?c=d&e"]
    {
        let line = Line::undeclared(harness, suffix).await;
        line.connection.declare(&line.name).await.unwrap();
        line.publish([suffix]).await;
        line.leaves([suffix]).await;
    }
}

/// Names are compared byte for byte.
pub async fn similar_names_are_different_queues(harness: &dyn QueueHarness) {
    let base = Line::new(harness).await;
    let names = ["x", "X", "x ", "xx", "x.x"].map(|end| base.name.clone() + end);
    for (count, name) in names.iter().enumerate() {
        base.connection.declare(name).await.unwrap();
        base.publish_messages(vec![Publication::new(name.clone(), "{}"); count]).await;
    }
    for (count, name) in names.into_iter().enumerate() {
        let mut line = base.reconnected().await;
        line.name = name;
        line.depth_becomes(count as u64).await;
    }
    base.depth_becomes(0).await;
}

/// Trying again with such a name is pointless, and the connection survives the attempt.
pub async fn a_name_that_is_too_long_is_a_permanent_error(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let name = harness.queue_name(&"x".repeat(300));
    let error = within("a declare", line.connection.declare(&name)).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    line.publish(["a"]).await;
    line.leaves(["a"]).await;
}

/// Whoever uses it; the messages beside it and the connection are not harmed.
pub async fn a_name_that_no_queue_can_have_is_refused_everywhere(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    for name in [String::new(), "x".repeat(256)] {
        let error = within("a declare", line.connection.declare(&name)).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        let options = ConsumeOptions { prefetch: 1 };
        let error = within("a consume", line.connection.consume(&name, options)).await.unwrap_err();
        assert!(!error.is_transient(), "{error:?}");
        let messages = vec![line.message("before"), Publication::new(name, "lost"), line.message("behind")];
        let outcomes = within("a publish", line.connection.publish(messages)).await.unwrap();
        let [PublishOutcome::Confirmed, PublishOutcome::Refused { reason }, PublishOutcome::Confirmed] =
            &outcomes[..]
        else {
            panic!("{outcomes:?}")
        };
        assert!(reason.contains("name"), "{reason}");
    }
    line.leaves(["before", "behind", "before", "behind"]).await;
}

/// Some brokers would take it for no bound at all.
pub async fn a_prefetch_of_zero_is_a_permanent_error(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let options = ConsumeOptions { prefetch: 0 };
    let error = within("a consume", line.connection.consume(&line.name, options)).await.unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
    line.publish(["a"]).await;
    line.leaves(["a"]).await;
}

/// Readiness asks this.
pub async fn an_open_connection_answers_a_ping(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    for _ in 0..3 {
        within("a ping", line.connection.ping()).await.unwrap();
    }
}
