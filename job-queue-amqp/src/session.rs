//! One consumer on one channel of one connection: where its deliveries are settled.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;
use job_core::queue::{Settle, Settlement};
use job_core::{Error, Result};
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::{DeliveryTag, FieldTable, ShortString};
use tokio::sync::Notify;

use crate::queue::Lifeline;
use crate::unsettled::{Plan, Unsettled};

const SUCCESS: u16 = 200;

/// A channel with one consumer. Nothing here outlives the channel: a tag of it means nothing anywhere else.
pub(crate) struct Session {
    pub(crate) queue: Arc<str>,
    channel: Channel,
    consumer_tag: ShortString,
    /// Frames that settle are handed to lapin under this lock, so that "all before this one" means the same to the broker
    /// as it means here.
    unsettled: Mutex<Unsettled>,
    all_settled: Notify,
    /// Whoever holds a delivery may settle it, though the queue it came from was dropped.
    _lifeline: Arc<Lifeline>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("queue", &self.queue)
            .field("channel", &self.channel.id())
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(
        queue: Arc<str>,
        channel: Channel,
        consumer_tag: ShortString,
        lifeline: Arc<Lifeline>,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue,
            channel,
            consumer_tag,
            unsettled: Mutex::default(),
            all_settled: Notify::new(),
            _lifeline: lifeline,
        })
    }

    /// Whether its deliveries can still be settled.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    pub(crate) fn delivered(&self, tag: DeliveryTag) {
        self.lock().insert(tag);
    }

    /// Asks for no more deliveries, without waiting.
    pub(crate) fn cancel(&self) {
        // The first poll hands the frame to lapin; the broker's answer ends the stream of deliveries.
        drop(self.cancelling().now_or_never());
    }

    /// Asks for no more deliveries and closes the channel once the broker has taken note of every settlement: whatever is
    /// unsettled is delivered again.
    ///
    /// A quorum queue takes settlements in portions and forgets those that still wait for their turn when the channel is
    /// closed. Cancelling the consumer waits until the first portion is stored; looking at the queue after that waits
    /// until the rest is on its way.
    pub(crate) async fn end(&self) {
        let _ = self.cancelling().await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let _ = self.channel.queue_declare((*self.queue).into(), passive, FieldTable::default()).await;
        self.close().await;
    }

    fn cancelling(&self) -> impl Future<Output = lapin::Result<()>> + Send + use<> {
        let (channel, tag) = (self.channel.clone(), self.consumer_tag.clone());
        async move { channel.basic_cancel(tag, BasicCancelOptions::default()).await }
    }

    pub(crate) fn is_all_settled(&self) -> bool {
        self.lock().is_empty()
    }

    /// Completes when every delivery is settled.
    pub(crate) async fn all_settled(&self) {
        loop {
            let settled = self.all_settled.notified();
            if self.is_all_settled() {
                return;
            }
            settled.await;
        }
    }

    /// Closes the channel: whatever is unsettled is delivered again.
    pub(crate) async fn close(&self) {
        // It fails when the channel or the connection is gone, which is as good.
        let _ = self.channel.close(SUCCESS, "no longer needed".into()).await;
    }

    fn lock(&self) -> MutexGuard<'_, Unsettled> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands the frames to lapin; the future completes when the last one is written.
    fn send(&self, tags: &[DeliveryTag], settlement: Settlement) -> BoxFuture<'static, lapin::Result<()>> {
        let mut unsettled = self.lock();
        let Plan { up_to, alone } = unsettled.take(tags);
        if unsettled.is_empty() {
            self.all_settled.notify_one();
        }
        let frames =
            up_to.map(|tag| (tag, true)).into_iter().chain(alone.into_iter().map(|tag| (tag, false)));
        let mut last: BoxFuture<'static, lapin::Result<()>> = std::future::ready(Ok(())).boxed();
        for (tag, multiple) in frames {
            let mut frame = settle_frame(self.channel.clone(), tag, multiple, settlement).boxed();
            last = match frame.as_mut().now_or_never() {
                Some(result) => std::future::ready(result).boxed(),
                None => frame,
            };
        }
        last
    }
}

async fn settle_frame(
    channel: Channel,
    tag: DeliveryTag,
    multiple: bool,
    settlement: Settlement,
) -> lapin::Result<()> {
    match settlement {
        Settlement::Ack => channel.basic_ack(tag, BasicAckOptions { multiple }).await,
        Settlement::Requeue => channel.basic_nack(tag, BasicNackOptions { multiple, requeue: true }).await,
        Settlement::Reject => channel.basic_nack(tag, BasicNackOptions { multiple, requeue: false }).await,
    }
}

#[async_trait]
impl Settle for Session {
    async fn settle(&self, tags: &[u64], settlement: Settlement) -> Result<()> {
        self.send(tags, settlement).await.map_err(|error| {
            Error::unavailable("the connection that the deliveries came over is gone; they come again")
                .with_operation("queue::settle")
                .with_context("queue", &*self.queue)
                .with_source(error)
        })
    }

    fn abandon(&self, tag: u64) {
        // Whether it is written or the connection is lost, the broker delivers it again.
        drop(self.send(&[tag], Settlement::Requeue));
    }
}
