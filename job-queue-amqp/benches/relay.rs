//! `AmqpQueue` beside the driver alone, doing the same work on the same broker in turns: relaying messages from one queue
//! to another, publishing with confirmations to one and to many queues, and consuming.
//!
//! `cargo bench -p job-queue-amqp --bench relay [-- ROUNDS]`, on a private broker.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its command line")]
#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Publication, PublishOutcome, Settlement, TaskQueue,
};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use testkit::{RabbitOptions, RabbitServer};

const BODY: &[u8] = &[b'x'; 512];
const MESSAGES: usize = 20_000;
const PREFETCH: u16 = 2_000;
/// What the dispatcher takes at once, and the tracker at least half of.
const BATCH: usize = 500;
/// Unconfirmed messages at most.
const WINDOW: usize = 1_000;
const QUEUES: usize = 100;

/// The driver alone, used as well as we know how: two connections, confirmations in a pipeline, one ack for a batch.
struct Bare {
    publishing: Channel,
    consuming: Channel,
    _connections: [Connection; 2],
}

impl Bare {
    async fn connect(url: &str) -> Result<Self> {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let connections = [connect().await?, connect().await?];
        let [publishing, consuming] =
            [connections[0].create_channel().await?, connections[1].create_channel().await?];
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        consuming.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        Ok(Self { publishing, consuming, _connections: connections })
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        self.consuming.queue_declare(queue.into(), durable, arguments).await?;
        Ok(())
    }

    async fn purge(&self, queue: &str) -> Result<()> {
        self.consuming.queue_purge(queue.into(), QueuePurgeOptions::default()).await?;
        Ok(())
    }

    /// Publishes them all, with a full window as long as there are any.
    async fn publish(&self, messages: impl Iterator<Item = (String, Bytes)>) -> Result<()> {
        let mut underway: FuturesUnordered<BoxFuture<'_, lapin::Result<Confirmation>>> =
            FuturesUnordered::new();
        let mut messages = messages.fuse();
        loop {
            while underway.len() < WINDOW
                && let Some((queue, body)) = messages.next()
            {
                let publishing = async move {
                    let properties = BasicProperties::default()
                        .with_content_type("text/plain".into())
                        .with_delivery_mode(2);
                    let mandatory = BasicPublishOptions { mandatory: true, immediate: false };
                    self.publishing
                        .basic_publish("".into(), queue.into(), mandatory, &body, properties)
                        .await?
                        .await
                };
                underway.push(Box::pin(publishing));
            }
            match underway.next().await {
                Some(confirmation) => ensure!(confirmation? == Confirmation::Ack(None), "not confirmed"),
                None => return Ok(()),
            }
        }
    }

    async fn relay(&self, from: &str, to: &str, count: usize) -> Result<()> {
        self.consume(from, count, async |batch| {
            self.publish(
                batch
                    .iter_mut()
                    .map(|delivery| (to.to_owned(), Bytes::from(std::mem::take(&mut delivery.data)))),
            )
            .await
        })
        .await
    }

    async fn consume(
        &self,
        from: &str,
        count: usize,
        work: impl AsyncFn(&mut [lapin::message::Delivery]) -> Result<()>,
    ) -> Result<()> {
        let consumer = self
            .consuming
            .basic_consume(from.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        let tag = consumer.tag();
        let mut batches = consumer.ready_chunks(BATCH);
        let mut done = 0;
        while done < count {
            let batch = batches.next().await.context("the consumer ended")?;
            let mut batch = batch.into_iter().collect::<lapin::Result<Vec<_>>>()?;
            work(&mut batch).await?;
            done += batch.len();
            let last = batch.last().context("no batch is empty")?.delivery_tag;
            self.consuming.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        }
        self.consuming.basic_cancel(tag, BasicCancelOptions::default()).await?;
        Ok(())
    }
}

/// The same over `AmqpQueue`.
async fn publish(queue: &AmqpQueue, messages: Vec<Publication>) -> Result<()> {
    let outcomes = queue.publish(messages).await?;
    match outcomes.into_iter().find(|outcome| *outcome != PublishOutcome::Confirmed) {
        Some(outcome) => bail!("{outcome:?}"),
        None => Ok(()),
    }
}

async fn consume(
    consumer: &mut Consumer,
    count: usize,
    work: impl AsyncFn(&[Delivery]) -> Result<()>,
) -> Result<()> {
    let mut batches = consumer.ready_chunks(BATCH);
    let mut done = 0;
    while done < count {
        let batch = batches.next().await.context("the consumer ended")?;
        work(&batch).await?;
        done += batch.len();
        Delivery::settle_all(batch, Settlement::Ack).await?;
    }
    Ok(())
}

async fn relay(queue: &AmqpQueue, from: &str, to: &str, count: usize) -> Result<()> {
    let mut consumer = queue.consume(from, ConsumeOptions { prefetch: PREFETCH }).await?;
    consume(&mut consumer, count, async |batch| {
        publish(queue, batch.iter().map(|delivery| Publication::new(to, delivery.body.clone())).collect())
            .await
    })
    .await
}

fn messages(names: &[String], count: usize) -> impl Iterator<Item = (String, Bytes)> {
    (0..count).map(move |number| (names[number % names.len()].clone(), Bytes::from_static(BODY)))
}

fn publications(names: &[String], count: usize) -> Vec<Publication> {
    messages(names, count).map(|(name, body)| Publication::new(name, body)).collect()
}

/// Rates of both sides, a round each in turns.
struct Rates {
    what: String,
    bare: Vec<f64>,
    ours: Vec<f64>,
}

impl Rates {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), bare: Vec::new(), ours: Vec::new() }
    }

    fn print(mut self) {
        let median = |rates: &mut Vec<f64>| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        };
        let (bare, ours) = (median(&mut self.bare), median(&mut self.ours));
        println!("| {} | {bare:.0} | {ours:.0} | {:.2} |", self.what, ours / bare);
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

struct Bench {
    bare: Bare,
    queue: AmqpQueue,
    rounds: usize,
}

impl Bench {
    async fn fill(&self, name: &str) -> Result<()> {
        self.bare.publish(messages(&[name.to_owned()], MESSAGES)).await
    }

    /// The round of the side that goes first alternates, so that neither profits from the other's warm-up.
    async fn run(
        &self,
        mut rates: Rates,
        prepare: impl AsyncFn() -> Result<()>,
        bare: impl AsyncFn() -> Result<()>,
        ours: impl AsyncFn() -> Result<()>,
    ) -> Result<()> {
        for round in 0..=self.rounds {
            for is_bare in [round % 2 == 0, round % 2 == 1] {
                prepare().await?;
                let start = Instant::now();
                if is_bare {
                    bare().await?
                } else {
                    ours().await?
                }
                let rate = rate(MESSAGES, start.elapsed());
                // The first round of each warms up.
                if round > 0 {
                    if is_bare { &mut rates.bare } else { &mut rates.ours }.push(rate);
                }
            }
        }
        rates.print();
        Ok(())
    }

    async fn relaying(&self) -> Result<()> {
        let (from, to) = ("relay-from", "relay-to");
        let prepare = async || {
            self.bare.purge(to).await?;
            self.fill(from).await
        };
        let bare = async || self.bare.relay(from, to, MESSAGES).await;
        let ours = async || relay(&self.queue, from, to, MESSAGES).await;
        self.run(Rates::new("relay: consume, publish, ack"), prepare, bare, ours).await
    }

    async fn consuming(&self) -> Result<()> {
        let from = "relay-from";
        let prepare = async || self.fill(from).await;
        let bare = async || self.bare.consume(from, MESSAGES, async |_| Ok(())).await;
        let ours = async || {
            let mut consumer = self.queue.consume(from, ConsumeOptions { prefetch: PREFETCH }).await?;
            consume(&mut consumer, MESSAGES, async |_| Ok(())).await
        };
        self.run(Rates::new("consume and ack"), prepare, bare, ours).await
    }

    async fn publishing(&self, names: &[String], batch: usize, what: &str) -> Result<()> {
        let prepare = async || {
            for name in names {
                self.bare.purge(name).await?;
            }
            Ok(())
        };
        let bare = async || {
            for _ in 0..MESSAGES / batch {
                self.bare.publish(messages(names, batch)).await?;
            }
            Ok(())
        };
        let ours = async || {
            for _ in 0..MESSAGES / batch {
                publish(&self.queue, publications(names, batch)).await?;
            }
            Ok(())
        };
        self.run(Rates::new(what), prepare, bare, ours).await
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let rounds = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(7);
    // Quorum queues are lazy in giving back memory; the alarm is not what is measured.
    let options = RabbitOptions::default().with_setting("vm_memory_high_watermark.absolute", "4GB");
    let server = tokio::task::spawn_blocking(move || RabbitServer::start_with(&options)).await??;
    let bare = Bare::connect(&server.url()).await?;
    let queue = AmqpQueue::connect(AmqpOptions::from_uri(&server.url())?).await?;
    let names: Vec<String> = (0..QUEUES).map(|number| format!("relay-{number}")).collect();
    let others = ["relay-from", "relay-to"].map(str::to_owned);
    for name in names.iter().chain(&others) {
        bare.declare(name).await?;
    }
    let bench = Bench { bare, queue, rounds };

    println!("{MESSAGES} messages of {} bytes, quorum queues, medians of {rounds} rounds\n", BODY.len());
    println!(
        "| work | driver alone, messages/s | AmqpQueue, messages/s | ratio |\n| --- | --- | --- | --- |"
    );
    bench.relaying().await?;
    bench.consuming().await?;
    bench.publishing(&names[..1], BATCH, "publish to 1 queue, 500 at once").await?;
    bench.publishing(&names[..1], MESSAGES, "publish to 1 queue, all at once").await?;
    bench.publishing(&names, BATCH, "publish to 100 queues, 500 at once").await?;
    bench.publishing(&names, MESSAGES, "publish to 100 queues, all at once").await?;

    bench.queue.close().await;
    Ok(())
}
