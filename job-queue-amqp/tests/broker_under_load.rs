//! The broker restarted, killed and made to hang up while messages are published and consumed: every confirmed message
//! arrives, and everybody goes on by himself. Each on a broker of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "figures that a test cannot judge")]

mod broker;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use job_core::backoff::Backoff;
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Publication, PublishOutcome, Settlement, TaskQueue,
};
use job_core::{Clock, ClockExt, ErrorKind, SystemClock};
use job_queue_amqp::AmqpQueue;
use tokio::sync::watch;
use tokio::task::JoinSet;

use broker::{Broker, DEADLINE, text, within};

const PUBLISHERS: u64 = 4;
const BATCH: usize = 50;
/// At least; the load goes on as long as the trouble does.
const MESSAGES: usize = 5_000;

/// What a publisher went through.
struct Published {
    confirmed: usize,
    /// How often a message was refused, or the broker was gone before it answered.
    refused: usize,
}

/// Publishes batch after batch, each message until it is confirmed, while the trouble lasts.
async fn publish(
    publisher: u64,
    queue: Arc<AmqpQueue>,
    progress: watch::Sender<usize>,
    is_over: watch::Receiver<bool>,
) -> Published {
    let clock = SystemClock::new();
    let mut published = Published { confirmed: 0, refused: 0 };
    for batch in 0.. {
        if *is_over.borrow() && published.confirmed >= MESSAGES / PUBLISHERS as usize {
            break;
        }
        let message = |index| Publication::new("q", format!("{publisher}-{batch}-{index}"));
        let mut left: Vec<Publication> = (0..BATCH).map(message).collect();
        let mut failures = 0;
        while !left.is_empty() {
            match queue.publish(left.clone()).await {
                Ok(outcomes) => {
                    let mut outcomes = outcomes.into_iter();
                    left.retain(|_| outcomes.next() != Some(PublishOutcome::Confirmed));
                    published.refused += left.len();
                }
                Err(error) => assert!(error.is_transient(), "{error:?}"),
            }
            if !left.is_empty() {
                clock.sleep(Backoff::RECONNECT.wait(failures, publisher)).await;
                failures += 1;
            }
        }
        published.confirmed += BATCH;
        progress.send_modify(|confirmed| *confirmed += BATCH);
    }
    published
}

/// Takes and acks everything that comes.
#[derive(Default)]
struct Consumed {
    times: BTreeMap<String, usize>,
    stale_settlements: usize,
}

impl Consumed {
    async fn take_some(&mut self, consumer: &mut Consumer) {
        let mut batch = vec![consumer.next().await.expect("the stream goes on")];
        while batch.len() < 20
            && let Some(Some(delivery)) = consumer.next().now_or_never()
        {
            batch.push(delivery);
        }
        for delivery in &batch {
            *self.times.entry(text(delivery)).or_default() += 1;
        }
        if let Err(error) = Delivery::settle_all(batch, Settlement::Ack).await {
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            self.stale_settlements += 1;
        }
    }
}

/// Over one queue object, whose consumer is never begun anew by its user.
async fn under_load<F>(broker: &Broker, trouble: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let queue: Arc<AmqpQueue> = Arc::new(broker.connect().await);
    let mut consumer = queue.consume("q", ConsumeOptions { prefetch: 200 }).await.unwrap();
    let (progress, is_over) = (watch::Sender::new(0), watch::Sender::new(false));
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        publishers.spawn(publish(publisher, Arc::clone(&queue), progress.clone(), is_over.subscribe()));
    }
    let mut troubles = JoinSet::new();
    troubles.spawn(async move {
        let mut confirmed = progress.subscribe();
        while *confirmed.borrow_and_update() < MESSAGES / 3 {
            within("more of the load", confirmed.changed()).await.unwrap();
        }
        trouble.await;
        is_over.send_replace(true);
    });

    let mut consumed = Consumed::default();
    let mut finished = Box::pin(publishers.join_all());
    let clock = SystemClock::new();
    let published: Vec<Published> = loop {
        tokio::select! {
            biased;
            published = &mut finished => break published,
            taken = clock.timeout(2 * DEADLINE, consumed.take_some(&mut consumer)) => {
                taken.expect("deliveries come");
            }
        }
    };
    let confirmed: usize = published.iter().map(|published| published.confirmed).sum();
    while consumed.times.len() < confirmed {
        within("a delivery", consumed.take_some(&mut consumer)).await;
    }
    within("the end of the trouble", troubles.join_all()).await;
    queue.close().await;
    println!(
        "{confirmed} confirmed and delivered, {} refused and published again, {} delivered repeatedly, {} stale settlements",
        published.iter().map(|published| published.refused).sum::<usize>(),
        consumed.times.values().filter(|times| **times > 1).count(),
        consumed.stale_settlements,
    );
    assert_eq!(consumed.times.len(), confirmed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_under_load_loses_nothing() {
    let broker = Broker::start().await;
    let restarted = broker.clone();
    under_load(&broker, async move { restarted.with(|server| server.restart()).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing() {
    let broker = Broker::start().await;
    // RabbitMQ 3.10 itself may forget a quorum queue that was declared in the three minutes before it is killed (its
    // directory of replicas is flushed no more often); an orderly restart flushes, too.
    let queue = broker.connect().await;
    queue.declare("q").await.unwrap();
    queue.close().await;
    broker.with(|server| server.restart()).await;
    let killed = broker.clone();
    let trouble = async move {
        killed.with(|server| server.kill()).await;
        killed.with(|server| server.restart()).await;
    };
    under_load(&broker, trouble).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_connections_under_load_lose_nothing() {
    let broker = Broker::start().await;
    let closed = broker.clone();
    let trouble = async move {
        for _ in 0..3 {
            closed.ctl(["close_all_connections", "a test"]).await;
        }
    };
    under_load(&broker, trouble).await;
}
