//! The seam to a message queue: what carries task messages, at least once.
//!
//! A queue is right when it passes the suite in `job-conformance`.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;

use crate::error::Result;

/// Message headers. AMQP's integers and texts are both kept as text here.
pub type Headers = BTreeMap<String, String>;

/// A message to be put on a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The queue's name.
    pub queue: String,
    /// One JSON document.
    pub body: Bytes,
    /// Usually empty.
    pub headers: Headers,
    /// Lets a consumer recognise a repeat: the same whenever the same message is published again, and handed out with
    /// every [`Delivery`]. Up to 255 bytes; a longer one may be left out.
    pub message_id: Option<String>,
}

impl Publication {
    /// A message without headers and id.
    #[must_use]
    pub fn new(queue: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { queue: queue.into(), body: body.into(), headers: Headers::new(), message_id: None }
    }
}

/// What became of a [`Publication`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishOutcome {
    /// The queue has it durably.
    Confirmed,
    /// There is no such queue.
    Unroutable,
    /// The queue refused it, it could not be sent, or the connection was lost before it was answered, in which case the
    /// message may or may not be there.
    Refused {
        /// What the queue said.
        reason: String,
    },
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Settlement {
    /// It is done with.
    Ack,
    /// It is to be delivered again, to anybody.
    Requeue,
    /// It is dropped, or dead-lettered where the operator configured that.
    Reject,
}

/// The consumer's side of a backend that settles deliveries. Only backends implement it; users call [`Delivery`].
#[async_trait]
pub trait Settle: fmt::Debug + Send + Sync {
    /// Settles the deliveries with these tags, all of this consumer.
    ///
    /// # Errors
    /// [`Unavailable`](crate::ErrorKind::Unavailable) when the connection they came over is gone; they will be delivered
    /// again.
    async fn settle(&self, tags: &[u64], settlement: Settlement) -> Result<()>;

    /// A delivery was dropped unsettled: it is to be delivered again. Must not block.
    fn abandon(&self, tag: u64);
}

/// A message in hand. It is settled exactly once: settling consumes it, and dropping it means
/// [`Settlement::Requeue`].
pub struct Delivery {
    /// One JSON document, not yet checked.
    pub body: Bytes,
    /// The headers it came with.
    pub headers: Headers,
    /// The queue it came from.
    pub queue: String,
    /// How often it was delivered before, as far as the queue knows; at least 1 when it is flagged as redelivered.
    pub redeliveries: u32,
    /// The id it was published with, where it had one that the queue can carry.
    pub message_id: Option<String>,
    settle: Option<(Arc<dyn Settle>, u64)>,
}

impl Delivery {
    /// Only for backends: `tag` names the delivery towards `settle`.
    #[must_use]
    pub fn new(
        queue: String,
        body: Bytes,
        headers: Headers,
        redeliveries: u32,
        settle: Arc<dyn Settle>,
        tag: u64,
    ) -> Self {
        Self { body, headers, queue, redeliveries, message_id: None, settle: Some((settle, tag)) }
    }

    /// Only for backends: the id the message was published with.
    #[must_use]
    pub fn with_message_id(mut self, message_id: Option<String>) -> Self {
        self.message_id = message_id;
        self
    }

    /// Done with. Cancel safety: if the future is dropped the message may be delivered again.
    ///
    /// # Errors
    /// See [`Settle::settle`].
    pub async fn ack(self) -> Result<()> {
        Self::settle_all(vec![self], Settlement::Ack).await
    }

    /// Deliver it again, to anybody.
    ///
    /// # Errors
    /// See [`Settle::settle`].
    pub async fn requeue(self) -> Result<()> {
        Self::settle_all(vec![self], Settlement::Requeue).await
    }

    /// Drop it.
    ///
    /// # Errors
    /// See [`Settle::settle`].
    pub async fn reject(self) -> Result<()> {
        Self::settle_all(vec![self], Settlement::Reject).await
    }

    /// Settles many at once; backends that can, do so in one step.
    ///
    /// # Errors
    /// The first error of [`Settle::settle`]; deliveries of other consumers are settled all the same.
    pub async fn settle_all(deliveries: Vec<Self>, settlement: Settlement) -> Result<()> {
        let mut groups: Vec<(Arc<dyn Settle>, Vec<u64>)> = Vec::new();
        for mut delivery in deliveries {
            let Some((settle, tag)) = delivery.settle.take() else { continue };
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &settle)) {
                Some((_, tags)) => tags.push(tag),
                None => groups.push((settle, vec![tag])),
            }
        }
        let mut result = Ok(());
        for (settle, tags) in groups {
            let settled = settle.settle(&tags, settlement).await;
            result = result.and(settled);
        }
        result
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some((settle, tag)) = self.settle.take() {
            settle.abandon(tag);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue)
            .field("bytes", &self.body.len())
            .field("redeliveries", &self.redeliveries)
            .finish_non_exhaustive()
    }
}

/// How to consume a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumeOptions {
    /// How many unsettled deliveries may be in hand at once. At least 1: zero is refused, since to some brokers it means
    /// that there is no bound.
    pub prefetch: u16,
}

/// Deliveries of one queue, as a [`Stream`] that ends only when the queue is closed.
///
/// Reconnecting is the backend's business. Dropping it requeues what it holds; deliveries already taken stay with their
/// holders.
pub struct Consumer(Pin<Box<dyn Stream<Item = Delivery> + Send>>);

impl Consumer {
    /// Only for backends.
    #[must_use]
    pub fn new(deliveries: impl Stream<Item = Delivery> + Send + 'static) -> Self {
        Self(Box::pin(deliveries))
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Consumer")
    }
}

/// A message queue that delivers at least once.
///
/// *Contract.* A confirmed message is delivered until somebody acks or rejects it, across restarts of a durable
/// backend. Messages of one queue are handed out roughly in order; a requeued one may come at any place. A message in
/// hand of a consumer that goes away, by drop, panic or lost connection, is delivered again. No method waits for a slow
/// or full queue longer than the backend's time-out, and one queue's trouble holds up no other.
#[async_trait]
pub trait TaskQueue: fmt::Debug + Send + Sync + 'static {
    /// Puts messages on their queues; a missing queue is declared when the backend's settings allow it.
    ///
    /// *Contract.* One outcome per message, in order. Returns once every message is confirmed, refused or timed out. A
    /// message to a name that no queue can have is refused alone.
    ///
    /// *Errors.* Transient when nothing was sent because the queue cannot be reached, or takes messages from nobody.
    ///
    /// *Cancel safety.* Dropping the future leaves each message published or not.
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>>;

    /// Begins to take messages off `queue`, which is declared if it is missing.
    ///
    /// *Contract.* Never more than `options.prefetch` unsettled deliveries per consumer. Several consumers share a queue.
    /// A queue that is deleted does not end its consumers: they go on once it exists again, and a backend may declare it
    /// again for them. What they have in hand then can still be settled, which may fail as on a lost connection; it is
    /// not delivered again.
    ///
    /// *Errors.* Transient when the queue cannot be reached now; permanent when the prefetch is zero or the name is not
    /// allowed.
    ///
    /// *Cancel safety.* Dropping the future consumes nothing.
    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer>;

    /// Makes sure that `queue` exists; one that exists with other settings is used as it is.
    ///
    /// *Errors.* Transient when the queue cannot be reached; permanent when the name is not allowed, which an empty one or
    /// one of more than 255 bytes never is.
    ///
    /// *Cancel safety.* Safe.
    async fn declare(&self, queue: &str) -> Result<()>;

    /// How many messages wait on `queue`, not counting those in hand; `None` when it does not exist.
    ///
    /// *Errors.* Transient when the queue cannot be reached.
    ///
    /// *Cancel safety.* Safe.
    async fn depth(&self, queue: &str) -> Result<Option<u64>>;

    /// Whether messages outlive the process. An engine on a queue that forgets them redispatches what is unfinished when it
    /// starts, so that a durable store does not wait for ever for tasks that nobody has. Wrappers forward it.
    fn is_durable(&self) -> bool;

    /// Whether the queue can be reached now.
    ///
    /// *Errors.* Transient, with the reason, when it cannot.
    ///
    /// *Cancel safety.* Safe.
    async fn ping(&self) -> Result<()>;

    /// Stops all consumers, requeues what they hold and closes connections. Later calls fail with
    /// [`Unavailable`](crate::ErrorKind::Unavailable); closing twice does nothing.
    async fn close(&self);
}
