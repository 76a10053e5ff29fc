//! A consumer's two halves: the stream that takes deliveries, and the handle through which they are settled.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use futures::Stream;
use job_core::queue::{Delivery, Settle, Settlement};
use job_core::{Error, Result};

use crate::broker::{Broker, Queue};
use crate::slots::Key;

/// A consumer's membership of a queue; every delivery holds it.
#[derive(Debug)]
pub(crate) struct Membership {
    broker: Arc<Broker>,
    queue: Arc<Queue>,
    key: Key,
}

impl Membership {
    pub(crate) fn new(broker: Arc<Broker>, queue: Arc<Queue>, key: Key) -> Self {
        Self { broker, queue, key }
    }
}

#[async_trait]
impl Settle for Membership {
    async fn settle(&self, tags: &[u64], settlement: Settlement) -> Result<()> {
        match self.queue.change(|contents| contents.settle(self.key, tags, settlement)) {
            Ok(rejected) => {
                if !rejected.is_empty() {
                    self.broker.dead_letter(&self.queue.name, rejected);
                }
                Ok(())
            }
            Err(_) => Err(Error::unavailable("the connection is closed; its deliveries come again")
                .with_operation("queue::settle")
                .with_context("queue", &self.queue.name)),
        }
    }

    fn abandon(&self, tag: u64) {
        // Cut off means that it has gone back already.
        let _ = self.queue.change(|contents| contents.settle(self.key, &[tag], Settlement::Requeue));
    }
}

/// The stream of a consumer's deliveries.
#[derive(Debug)]
pub(crate) struct Deliveries(pub(crate) Arc<Membership>);

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        // Neither taking nor settling ever waits while the queue has messages: without the runtime's budget, a loop
        // that does both would keep its thread for itself.
        let coop = ready!(tokio::task::coop::poll_proceed(cx));
        let member = &self.0;
        let taken = ready!(member.queue.lock().poll_take(member.key, cx));
        coop.made_progress();
        Poll::Ready(taken.map(|(tag, message)| {
            Delivery::new(
                member.queue.name.clone(),
                message.body,
                message.headers,
                message.redeliveries,
                Arc::<Membership>::clone(member),
                tag,
            )
            .with_message_id(message.message_id)
        }))
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        self.0.queue.change(|contents| contents.leave(self.0.key));
    }
}
