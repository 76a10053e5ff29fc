//! The yardstick `relay`: the driver alone, used as well as we know how. Two connections, confirmations in a pipeline,
//! one ack for a batch, and no batch waits for company.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};

/// As the tracker's and the runners' that are measured.
pub(crate) const PREFETCH: u16 = 2_000;
/// Unconfirmed messages at most, as `AmqpQueue` has it.
const WINDOW: usize = 1_000;

#[derive(Debug)]
pub(crate) struct Bare {
    publishing: Channel,
    consuming: Channel,
    _connections: [Connection; 2],
}

impl Bare {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let connect = || Connection::connect(url, ConnectionProperties::default());
        let connections = [connect().await?, connect().await?];
        let [publishing, consuming] =
            [connections[0].create_channel().await?, connections[1].create_channel().await?];
        publishing.confirm_select(ConfirmSelectOptions::default()).await?;
        consuming.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        Ok(Self { publishing, consuming, _connections: connections })
    }

    pub(crate) async fn delete(&self, queue: &str) -> Result<()> {
        self.consuming.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        Ok(())
    }

    /// Publishes them all and returns when all are confirmed, with a full window as long as there are any.
    pub(crate) async fn publish(&self, messages: impl Iterator<Item = (String, Bytes)>) -> Result<()> {
        let mut underway: FuturesUnordered<BoxFuture<'_, lapin::Result<Confirmation>>> =
            FuturesUnordered::new();
        let mut messages = messages.fuse();
        loop {
            while underway.len() < WINDOW
                && let Some((queue, body)) = messages.next()
            {
                underway.push(Box::pin(self.publish_one(queue, body)));
            }
            match underway.next().await {
                Some(confirmation) => ensure!(confirmation? == Confirmation::Ack(None), "not confirmed"),
                None => return Ok(()),
            }
        }
    }

    async fn publish_one(&self, queue: String, body: Bytes) -> lapin::Result<Confirmation> {
        let properties =
            BasicProperties::default().with_content_type("text/plain".into()).with_delivery_mode(2);
        let mandatory = BasicPublishOptions { mandatory: true, immediate: false };
        self.publishing.basic_publish("".into(), queue.into(), mandatory, &body, properties).await?.await
    }

    /// Consumes `count` messages, each batch acked after `work` is done with it.
    pub(crate) async fn consume(
        &self,
        from: &str,
        count: usize,
        batch: usize,
        mut work: impl AsyncFnMut(&mut [Delivery]) -> Result<()>,
    ) -> Result<()> {
        let consumer = self
            .consuming
            .basic_consume(from.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await?;
        let tag = consumer.tag();
        let mut batches = consumer.ready_chunks(batch);
        let mut done = 0;
        while done < count {
            let batch = batches.next().await.context("the consumer ended")?;
            let mut batch = batch.into_iter().collect::<lapin::Result<Vec<_>>>()?;
            work(&mut batch).await?;
            done += batch.len();
            let last = batch.last().context("no batch is empty")?.delivery_tag;
            self.consuming.basic_ack(last, BasicAckOptions { multiple: true }).await?;
        }
        ensure!(done == count, "{done} messages came, and not {count}");
        self.consuming.basic_cancel(tag, BasicCancelOptions::default()).await?;
        Ok(())
    }

    /// Consumes, publishes with confirms, acks.
    pub(crate) async fn relay(&self, from: &str, to: &str, count: usize, batch: usize) -> Result<()> {
        self.consume(from, count, batch, async |batch| {
            let body = |delivery: &mut Delivery| Bytes::from(std::mem::take(&mut delivery.data));
            self.publish(batch.iter_mut().map(|delivery| (to.to_owned(), body(delivery)))).await
        })
        .await
    }

    /// Deliveries one at a time, for whoever measures how long one takes.
    pub(crate) async fn deliveries(&self, from: &str) -> Result<lapin::Consumer> {
        let options = BasicConsumeOptions::default();
        Ok(self.consuming.basic_consume(from.into(), "".into(), options, FieldTable::default()).await?)
    }
}
