//! Troubles of the broker: frozen, out of memory, down, or silent in parts. Each on a broker of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures that a test cannot judge")]

mod broker;

use std::sync::Arc;
use std::time::Duration;

use job_core::queue::{ConsumeOptions, Delivery, Publication, PublishOutcome, Settlement, TaskQueue};
use job_core::{Clock, ErrorKind, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use testkit::RabbitOptions;
use tokio::task::JoinSet;

use broker::{Broker, next, publish_one, put, take, text, until, within};

/// One that comes upon a block fails as a whole, one that is overtaken by it message by message.
fn is_blocked(published: &job_core::Result<Vec<PublishOutcome>>) -> bool {
    let is_refused = |outcome: &PublishOutcome| matches!(outcome, PublishOutcome::Refused { reason } if reason.starts_with("blocked"));
    match published {
        Ok(outcomes) => outcomes.iter().all(is_refused),
        Err(error) => error.is_transient() && error.message().starts_with("blocked"),
    }
}

async fn publish_is_blocked(queue: &AmqpQueue) -> bool {
    is_blocked(&within("a publish", queue.publish(vec![Publication::new("q", "late")])).await)
}

async fn publish_is_confirmed(queue: &dyn TaskQueue, name: &str, body: &str) -> bool {
    matches!(
        queue.publish(vec![Publication::new(name, body.to_owned())]).await.as_deref(),
        Ok([PublishOutcome::Confirmed])
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_alarm_refuses_publishes_and_lets_consumers_go_on() {
    const LIMIT: Duration = Duration::from_secs(1);
    let broker = Broker::start().await;
    let queue = AmqpQueue::connect(broker.options().with_confirm_timeout(LIMIT)).await.unwrap();
    let backlog = (0..200).map(|number| Publication::new("q", number.to_string())).collect();
    queue.publish(backlog).await.unwrap();
    let mut consumer = queue.consume("q", ConsumeOptions { prefetch: 20 }).await.unwrap();

    broker.ctl(["set_vm_memory_high_watermark", "0"]).await;
    let clock = SystemClock::new();
    until("the block", async || publish_is_blocked(&queue).await).await;
    // Not for one message, not for many, not for many at once; each in time.
    let start = clock.now();
    let many = || (0..3_000).map(|_| Publication::new("q", "late")).collect::<Vec<_>>();
    let (one, other) =
        within("two publishes", futures::future::join(queue.publish(many()), queue.publish(many()))).await;
    assert!(one.is_err() && is_blocked(&one), "{one:?}");
    assert!(other.is_err() && is_blocked(&other), "{other:?}");
    assert!(clock.now().since(start) < 4 * LIMIT, "{:?}", clock.now().since(start));

    // Consumers, settlements and questions go on, as does declaring.
    for _ in 0..200 {
        next(&mut consumer).await.ack().await.unwrap();
    }
    until("an empty queue", async || queue.depth("q").await.unwrap() == Some(0)).await;
    queue.declare("another").await.unwrap();
    queue.ping().await.unwrap();

    // A publish that waits goes through as soon as it may.
    let waiting = AmqpQueue::connect(broker.options()).await.unwrap();
    let waiting = Arc::new(waiting);
    let waiter = Arc::clone(&waiting);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let clock = SystemClock::new();
        while !publish_is_confirmed(&*waiter, "q", "waited").await {}
        clock.now()
    });
    broker.ctl(["set_vm_memory_high_watermark", "0.6"]).await;
    let recovery =
        until("the end of the block", async || publish_is_confirmed(&queue, "q", "on time").await).await;
    within("the waiting publish", tasks.join_all()).await;
    println!("recovered {recovery:?} after the alarm");
    assert!(recovery < Duration::from_secs(5), "{recovery:?}");
    let mut bodies = Vec::new();
    while !(bodies.contains(&"on time".to_owned()) && bodies.contains(&"waited".to_owned())) {
        let delivery = next(&mut consumer).await;
        bodies.push(text(&delivery));
        delivery.ack().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_blocked_takes_no_longer_than_it_may() {
    let broker = Broker::start().await;
    let queue =
        AmqpQueue::connect(broker.options().with_confirm_timeout(Duration::from_millis(500))).await.unwrap();
    put(&queue, "q", "a").await;
    broker.ctl(["set_vm_memory_high_watermark", "0"]).await;
    until("the block", async || publish_is_blocked(&queue).await).await;
    let clock = SystemClock::new();
    let start = clock.now();
    within("a close", queue.close()).await;
    assert!(clock.now().since(start) < Duration::from_secs(10), "{:?}", clock.now().since(start));
    until("the end of all connections", async || connections(&broker).await == 0).await;
}

async fn connections(broker: &Broker) -> usize {
    broker
        .ctl(["list_connections", "--silent", "pid"])
        .await
        .lines()
        .filter(|line| line.starts_with('<'))
        .count()
}

/// The first deliveries of every channel have the same numbers: an old one must not settle a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_over_a_lost_connection_settles_nothing() {
    let broker = Broker::start().await;
    let queue = broker.connect().await;
    let mut consumer = queue.consume("q", ConsumeOptions { prefetch: 6 }).await.unwrap();
    for number in 0..6 {
        put(&queue, "q", number.to_string()).await;
    }
    let mut old = take(&mut consumer, 6).await;
    broker.ctl(["close_all_connections", "a test"]).await;
    // The stream goes on by itself, with the same messages.
    let new = take(&mut consumer, 6).await;
    let bodies = |deliveries: &[Delivery]| {
        let mut bodies: Vec<String> = deliveries.iter().map(text).collect();
        bodies.sort();
        bodies
    };
    assert_eq!(bodies(&new), bodies(&old));
    assert!(new.iter().all(|delivery| delivery.redeliveries >= 1));
    drop(old.remove(0));
    let errors = [
        old.remove(0).ack().await,
        old.remove(0).reject().await,
        old.remove(0).requeue().await,
        Delivery::settle_all(old, Settlement::Ack).await,
    ];
    for error in errors {
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    queue.close().await;
    let again = broker.connect().await;
    let mut consumer = again.consume("q", ConsumeOptions { prefetch: 10 }).await.unwrap();
    assert_eq!(take(&mut consumer, 6).await.len(), 6);
    assert_eq!(again.depth("q").await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_is_noticed_and_found_again() {
    const LIMIT: Duration = Duration::from_secs(1);
    let broker = Broker::start().await;
    let options = broker.options().with_confirm_timeout(LIMIT).with_heartbeat_seconds(1);
    let queue = AmqpQueue::connect(options).await.unwrap();
    put(&queue, "q", "before").await;
    let mut consumer = queue.consume("q", ConsumeOptions { prefetch: 1 }).await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();

    broker.with(|server| server.pause()).await;
    let clock = SystemClock::new();
    let start = clock.now();
    let outcome = publish_one(&queue, "q", "into the ice").await;
    assert!(
        matches!(&outcome, PublishOutcome::Refused { reason } if reason.contains("no answer")),
        "{outcome:?}"
    );
    assert!(clock.now().since(start) < 3 * LIMIT);
    let ping = within("a ping", queue.ping()).await;
    assert!(ping.unwrap_err().is_transient());
    let is_down = async || queue.publish(vec![Publication::new("q", "nothing is sent")]).await.is_err();
    let noticed = until("the loss of the connection", is_down).await;
    println!("noticed after {noticed:?}");
    broker.with(|server| server.unpause()).await;

    until("the connection", async || publish_is_confirmed(&queue, "q", "after").await).await;
    while text(&next(&mut consumer).await) != "after" {}
    let io_threads = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter(|task| {
            let name = std::fs::read_to_string(task.as_ref().unwrap().path().join("comm"));
            name.is_ok_and(|name| name.trim().starts_with("lapin-io-loop"))
        })
        .count();
    assert!(io_threads <= 3, "{io_threads} threads for three connections");
}

/// A queue whose leader is stuck answers nothing, not even no.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_queue_rests_and_holds_up_no_other() {
    const LIMIT: Duration = Duration::from_secs(2);
    let broker = Broker::start().await;
    let queue = AmqpQueue::connect(broker.options().with_confirm_timeout(LIMIT)).await.unwrap();
    put(&queue, "silent", "before").await;
    put(&queue, "healthy", "before").await;
    broker.ctl(["eval", "sys:suspend('%2F_silent')."]).await;

    let clock = SystemClock::new();
    let batch = || {
        (0..100)
            .map(|number| Publication::new(if number % 10 == 0 { "silent" } else { "healthy" }, "{}"))
            .collect::<Vec<_>>()
    };
    let check = |outcomes: &[PublishOutcome]| {
        for (number, outcome) in outcomes.iter().enumerate() {
            assert_eq!(*outcome == PublishOutcome::Confirmed, number % 10 > 0, "{number} {outcome:?}");
        }
    };
    check(&within("a publish", queue.publish(batch())).await.unwrap());
    // From now on nobody waits for it, but for a single message now and then, and not for long.
    let mut waits = Vec::new();
    for _ in 0..10 {
        let start = clock.now();
        check(&within("a publish", queue.publish(batch())).await.unwrap());
        waits.push(clock.now().since(start));
    }
    waits.sort();
    println!("beside a silent queue: {waits:?}");
    assert!(waits[7] < LIMIT / 4, "{waits:?}");
    assert!(waits[9] < LIMIT, "{waits:?}");

    broker.ctl(["eval", "sys:resume('%2F_silent')."]).await;
    until("the silent queue's answer", async || publish_is_confirmed(&queue, "silent", "after").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_too_large_for_the_broker_is_refused_alone() {
    const MAX: usize = 1 << 20;
    let options = RabbitOptions::default().with_setting("max_message_size", &MAX.to_string());
    let broker = Broker::start_with(options).await;
    let queue = Arc::new(broker.connect().await);
    put(&*queue, "q", "first").await;
    let neighbour = Arc::clone(&queue);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for round in 0..100 {
            put(&*neighbour, "neighbour", round.to_string()).await;
        }
    });
    for _ in 0..10 {
        let mut messages: Vec<Publication> =
            (0..200).map(|number| Publication::new("q", number.to_string())).collect();
        for at in [150, 50, 3] {
            messages.insert(at, Publication::new("q", vec![b'x'; MAX - 100]));
            messages.insert(at, Publication::new("q", vec![b'x'; MAX + 1]));
        }
        let outcomes = within("a publish", queue.publish(messages.clone())).await.unwrap();
        for (message, outcome) in messages.iter().zip(outcomes) {
            match outcome {
                PublishOutcome::Refused { reason } if message.body.len() > MAX => {
                    assert!(reason.contains("larger"), "{reason}");
                }
                outcome => assert_eq!(outcome, PublishOutcome::Confirmed, "{} bytes", message.body.len()),
            }
        }
    }
    within("the neighbour", tasks.join_all()).await;
    until("all messages", async || queue.depth("q").await.unwrap() == Some(1 + 10 * 203)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_down_is_waited_for() {
    let broker = Broker::start().await;
    broker.with(|server| server.stop()).await;
    let options = broker.options().with_confirm_timeout(Duration::from_millis(200));
    let error = AmqpQueue::connect(options.clone()).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, true));

    let queue = AmqpQueue::start(&options);
    let errors = [
        within("a publish", queue.publish(vec![Publication::new("q", "{}")])).await.map(drop),
        within("a consume", queue.consume("q", ConsumeOptions { prefetch: 1 })).await.map(drop),
        within("a declare", queue.declare("q")).await,
        within("a look at the depth", queue.depth("q")).await.map(drop),
        within("a ping", queue.ping()).await,
    ];
    for error in errors.map(Result::unwrap_err) {
        assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Unavailable, true), "{error:?}");
    }
    broker.with(|server| server.restart()).await;
    until("a connection", async || queue.ping().await.is_ok()).await;
    until("a publish", async || publish_is_confirmed(&queue, "q", "a").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_are_checked_at_once_and_never_shown() {
    let broker = Broker::start().await;
    broker.ctl(["add_user", "canary-user", "canary-password"]).await;
    let port = broker.with(|server| Ok(server.port())).await;
    let options =
        |password| AmqpOptions::from_parts("amqp", "127.0.0.1", port, "canary-user", password).unwrap();
    // The password is wrong; then the user may not use the virtual host.
    for options in [options("canary-wrong"), options("canary-password")] {
        let error = within("a connect", AmqpQueue::connect(options)).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("canary-wrong") && !shown.contains("canary-password"), "{shown}");
    }
    broker.ctl(["set_permissions", "canary-user", "^good", "^(good|amq.default)", "^good"]).await;
    let queue = AmqpQueue::connect(options("canary-password")).await.unwrap();
    assert!(!format!("{queue:?}").contains("canary-password"));
    let messages = ["good", "bad", "good"].map(|name| Publication::new(name, "{}")).to_vec();
    let outcomes = within("a publish", queue.publish(messages)).await.unwrap();
    assert!(
        matches!(
            &outcomes[..],
            [PublishOutcome::Confirmed, PublishOutcome::Refused { .. }, PublishOutcome::Confirmed]
        ),
        "{outcomes:?}"
    );
    let error = queue.consume("bad", ConsumeOptions { prefetch: 1 }).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Invalid, false), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_left_means_no_connection_left() {
    let broker = Broker::start().await;
    let queue = broker.connect().await;
    put(&queue, "q", "a").await;
    put(&queue, "q", "b").await;
    let mut consumer = queue.consume("q", ConsumeOptions { prefetch: 10 }).await.unwrap();
    let delivery = next(&mut consumer).await;
    drop(queue);
    // Consumers and deliveries are users, too.
    let other = next(&mut consumer).await;
    drop(consumer);
    delivery.ack().await.unwrap();
    assert_eq!(connections(&broker).await, 3);
    drop(other);
    until("the end of all connections", async || connections(&broker).await == 0).await;
    let again = broker.connect().await;
    until("the requeued message", async || again.depth("q").await.unwrap() == Some(1)).await;
}
