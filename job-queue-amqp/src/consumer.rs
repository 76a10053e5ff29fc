//! Consuming: a stream of deliveries that survives its connections.
//!
//! A task behind each consumer takes deliveries from the broker and, whenever that ends, begins anew. What was fetched over
//! a lost connection and not yet taken is dropped: the broker delivers it again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt};
use job_core::backoff::Backoff;
use job_core::queue::{Consumer, Delivery};
use job_core::{Clock, ClockExt, IdSource, RandomIds, Result, Shutdown};
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::sync::mpsc;

use crate::control::{self, Control};
use crate::error::Failure;
use crate::headers::{headers, redeliveries};
use crate::link::Link;
use crate::live::Live;
use crate::options::AmqpOptions;
use crate::queue::Lifeline;
use crate::session::Session;

const OPERATION: &str = "queue::consume";
/// How long a consumer's end may take.
const END_LIMIT: Duration = Duration::from_secs(2);
/// How long the channel of a dropped consumer stays open after its last delivery was settled. See [`Session::end`]: once
/// the consumer is cancelled, nothing tells when the broker has stored the settlements.
const LINGER: Duration = Duration::from_millis(250);

/// What consuming needs.
#[derive(Debug, Clone)]
pub(crate) struct Consuming {
    link: Arc<Link>,
    control: Arc<Control>,
    clock: Arc<dyn Clock>,
    limit: Duration,
    idle_limit: Duration,
    shutdown: Shutdown,
}

/// A consumer at the broker.
struct Subscription {
    session: Arc<Session>,
    live: Arc<Live>,
    deliveries: lapin::Consumer,
}

impl Consuming {
    pub(crate) fn new(
        link: Arc<Link>,
        control: Arc<Control>,
        clock: &Arc<dyn Clock>,
        options: &AmqpOptions,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            link,
            control,
            clock: Arc::clone(clock),
            limit: options.confirm_timeout,
            idle_limit: options.idle_limit,
            shutdown: shutdown.clone(),
        }
    }

    /// See [`TaskQueue::consume`](job_core::queue::TaskQueue::consume).
    pub(crate) async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
        lifeline: Arc<Lifeline>,
    ) -> Result<Consumer> {
        let queue: Arc<str> = queue.into();
        let first = self.subscribe(&queue, prefetch, &lifeline).await?;
        let session = Arc::new(Mutex::new(Some(Arc::clone(&first.session))));
        // The prefetch bounds it.
        let (sender, receiver) = mpsc::unbounded_channel();
        let pump = Pump {
            consuming: self.clone(),
            queue,
            prefetch,
            sender,
            session: Arc::clone(&session),
            lifeline: Arc::downgrade(&lifeline),
        };
        self.shutdown.spawn(pump.run(first));
        let shutdown = self.shutdown.clone();
        Ok(Consumer::new(Deliveries { receiver, session, shutdown, _lifeline: lifeline }))
    }

    /// When to look whether anything came since the last look.
    fn look(&self) -> BoxFuture<'_, ()> {
        self.clock.sleep(self.idle_limit / 2)
    }

    async fn subscribe(
        &self,
        queue: &Arc<str>,
        prefetch: u16,
        lifeline: &Arc<Lifeline>,
    ) -> Result<Subscription> {
        let name = control::name(queue).map_err(|error| error.with_operation(OPERATION))?;
        self.control.ensure(queue).await.map_err(|error| error.with_operation(OPERATION))?;
        let live = self.link.live(self.limit).await.map_err(|failure| failure.into_error(OPERATION))?;
        let subscribing = async {
            let channel = live.open_channel().await?;
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            let consumer = channel.basic_consume(name, "".into(), options, FieldTable::default()).await?;
            Ok((channel, consumer))
        };
        let subscribed = self.clock.timeout(self.limit, subscribing).await.unwrap_or(Err(Failure::Silent));
        let (channel, deliveries) = subscribed.map_err(|failure| {
            self.control.forget(queue);
            failure.into_error(OPERATION).with_context("queue", &**queue)
        })?;
        let session = Session::new(Arc::clone(queue), channel, deliveries.tag(), Arc::clone(lifeline));
        Ok(Subscription { session, live, deliveries })
    }
}

/// The task behind a consumer.
struct Pump {
    consuming: Consuming,
    queue: Arc<str>,
    prefetch: u16,
    sender: mpsc::UnboundedSender<(Arc<Session>, Delivery)>,
    /// The session of the present subscription, for the stream to cancel: it takes it when it is dropped.
    session: Arc<Mutex<Option<Arc<Session>>>>,
    lifeline: std::sync::Weak<Lifeline>,
}

enum Ended {
    /// Nobody wants more.
    Unwanted,
    /// The connection, the channel or the queue is gone.
    Lost(String),
    /// Nothing came for so long that the broker may have forgotten it. Asking anew costs next to nothing, and nothing else
    /// would tell: to the broker all is well, and what it believes to have delivered waits for an ack.
    Idle,
    /// The queue is being closed.
    Stopping,
}

impl Pump {
    async fn run(self, first: Subscription) {
        let mut subscription = first;
        loop {
            match self.deliver(&mut subscription).await {
                Ended::Unwanted => return self.wind_down(subscription).await,
                Ended::Stopping => {
                    drop(self.sender);
                    let session = subscription.session;
                    let _ = self.consuming.clock.timeout(END_LIMIT, session.end()).await;
                    return;
                }
                Ended::Lost(why) => {
                    tracing::warn!(queue.name = &*self.queue, reason = why, "a consumer is begun anew");
                }
                Ended::Idle => tracing::debug!(queue.name = &*self.queue, "an idle consumer is begun anew"),
            }
            // A channel whose queue was deleted is still open.
            let _ = self.consuming.clock.timeout(END_LIMIT, subscription.session.close()).await;
            self.consuming.control.forget(&self.queue);
            drop(subscription);
            match self.subscribe_again().await {
                Some(again) => subscription = again,
                None => return,
            }
        }
    }

    async fn deliver(&self, subscription: &mut Subscription) -> Ended {
        let Subscription { session, deliveries, .. } = subscription;
        // No timer for each delivery: they may be many.
        let (mut look, mut is_silent) = (self.consuming.look(), true);
        loop {
            let next = tokio::select! {
                biased;
                () = self.sender.closed() => return Ended::Unwanted,
                () = self.consuming.shutdown.stopping() => return Ended::Stopping,
                next = deliveries.next() => next,
                () = &mut look => {
                    if is_silent && session.is_all_settled() {
                        return Ended::Idle;
                    }
                    is_silent = true;
                    look = self.consuming.look();
                    continue;
                }
            };
            is_silent = false;
            match next {
                // It fails when nobody wants more: the delivery is dropped, and so goes back.
                Some(Ok(delivery)) => {
                    drop(self.sender.send((Arc::clone(session), received(session, delivery))))
                }
                // The stream is being dropped, and has cancelled it: whoever holds deliveries may still settle them.
                _ if self.is_dropped() => return Ended::Unwanted,
                Some(Err(error)) => return Ended::Lost(crate::error::reason(&error)),
                None => return Ended::Lost("the broker cancelled it".to_owned()),
            }
        }
    }

    fn is_dropped(&self) -> bool {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    async fn subscribe_again(&self) -> Option<Subscription> {
        let spread = RandomIds.next().as_u64_pair().0;
        let mut failures = 0;
        loop {
            let lifeline = self.lifeline.upgrade()?;
            let subscribing = self.consuming.subscribe(&self.queue, self.prefetch, &lifeline);
            let subscribed = tokio::select! {
                () = self.sender.closed() => return None,
                () = self.consuming.shutdown.stopping() => return None,
                subscribed = subscribing => subscribed,
            };
            drop(lifeline);
            match subscribed {
                Ok(subscription) => {
                    let session = Arc::clone(&subscription.session);
                    *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
                    return Some(subscription);
                }
                Err(error) => {
                    let wait = Backoff::RECONNECT.wait(failures, spread);
                    failures = failures.saturating_add(1);
                    tracing::warn!(%error, retry_ms = wait.as_millis(), "a queue cannot be consumed");
                    tokio::select! {
                        () = self.sender.closed() => return None,
                        () = self.consuming.shutdown.stopping() => return None,
                        () = self.consuming.clock.sleep(wait) => {}
                    }
                }
            }
        }
    }

    /// Hands back what still arrives, waits for the holders of deliveries, and closes the channel.
    async fn wind_down(self, subscription: Subscription) {
        let Self { consuming, sender, .. } = self;
        // What was sent in the moment in which the stream was dropped lies between the two and goes with the last of them. Kept
        // here, it would be waited for below for ever.
        drop(sender);
        let Subscription { session, live, mut deliveries } = subscription;
        // Cancelled before by the stream, unless that was dropped between two subscriptions.
        session.cancel();
        let winding_down = async {
            while let Some(Ok(delivery)) = deliveries.next().await {
                drop(received(&session, delivery));
            }
            session.all_settled().await;
        };
        tokio::select! {
            () = winding_down => {}
            () = consuming.shutdown.stopping() => {}
            () = live.lost() => return,
        }
        consuming.clock.sleep(LINGER).await;
        let _ = consuming.clock.timeout(END_LIMIT, session.end()).await;
    }
}

fn received(session: &Arc<Session>, delivery: lapin::message::Delivery) -> Delivery {
    session.delivered(delivery.delivery_tag);
    let headers = headers(&delivery.properties);
    let redeliveries = redeliveries(delivery.redelivered, &headers);
    let settle = Arc::clone(session) as Arc<dyn job_core::queue::Settle>;
    let queue = session.queue.to_string();
    let message_id = delivery.properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    Delivery::new(queue, Bytes::from(delivery.data), headers, redeliveries, settle, delivery.delivery_tag)
        .with_message_id(message_id)
}

/// What the user polls.
struct Deliveries {
    receiver: mpsc::UnboundedReceiver<(Arc<Session>, Delivery)>,
    session: Arc<Mutex<Option<Arc<Session>>>>,
    shutdown: Shutdown,
    _lifeline: Arc<Lifeline>,
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match ready!(self.receiver.poll_recv(cx)) {
                Some(_) if self.shutdown.is_stopping() => {}
                // Of a lost connection: the broker delivers it again.
                Some((session, _)) if !session.is_open() => {}
                Some((_, delivery)) => return Poll::Ready(Some(delivery)),
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Deliveries {
    fn drop(&mut self) {
        // First of all no more, so that what is handed back next is not delivered here again.
        if let Some(session) = self.session.lock().unwrap_or_else(PoisonError::into_inner).take() {
            session.cancel();
        }
    }
}
