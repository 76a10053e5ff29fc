//! What cases are written with: a queue under test, a consumer of it, and waits that end.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Headers, Publication, PublishOutcome, Settlement, TaskQueue,
};
use job_core::{Clock, ClockExt, SystemClock};

use super::QueueHarness;

/// Longer than any healthy backend takes on a busy machine; only a failing case waits this long.
const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at something that no signal tells about.
const GLANCE: Duration = Duration::from_millis(2);

/// What the last message says when a case looks at what is left.
const MARKER: &str = "marker";

/// The output of `future`, which must come before the deadline.
pub(crate) async fn within<F>(what: &str, future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    match SystemClock::new().timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// Lets a moment pass between two looks or attempts.
pub(crate) async fn glance() {
    SystemClock::new().sleep(GLANCE).await;
}

/// A declared queue of its own and a connection of its own.
pub(crate) struct Line<'a> {
    harness: &'a dyn QueueHarness,
    pub(crate) connection: Arc<dyn TaskQueue>,
    pub(crate) name: String,
}

impl<'a> Line<'a> {
    pub(crate) async fn new(harness: &'a dyn QueueHarness) -> Self {
        let line = Self::undeclared(harness, "").await;
        line.connection.declare(&line.name).await.unwrap();
        line
    }

    pub(crate) async fn undeclared(harness: &'a dyn QueueHarness, suffix: &str) -> Self {
        Self { harness, connection: harness.connect().await, name: harness.queue_name(suffix) }
    }

    /// The same queue over a connection of its own.
    pub(crate) async fn reconnected(&self) -> Self {
        let connection = self.harness.connect().await;
        Self { harness: self.harness, connection, name: self.name.clone() }
    }

    pub(crate) fn message(&self, body: impl Into<Bytes>) -> Publication {
        Publication::new(self.name.clone(), body)
    }

    /// Publishes one message per body; all must be confirmed.
    pub(crate) async fn publish<B: Into<Bytes>>(&self, bodies: impl IntoIterator<Item = B>) {
        let messages = bodies.into_iter().map(|body| self.message(body)).collect();
        self.publish_messages(messages).await;
    }

    /// Publishes messages `0`, `1` and so on.
    pub(crate) async fn publish_numbers(&self, count: usize) {
        self.publish((0..count).map(|number| number.to_string())).await;
    }

    pub(crate) async fn publish_messages(&self, messages: Vec<Publication>) {
        let count = messages.len();
        let outcomes = within("a publish", self.connection.publish(messages)).await.unwrap();
        assert_eq!(outcomes, vec![PublishOutcome::Confirmed; count]);
    }

    pub(crate) async fn consume(&self, prefetch: u16) -> Tap {
        let starting = self.connection.consume(&self.name, ConsumeOptions { prefetch });
        let consumer = within("a consume", starting).await.unwrap();
        Tap { consumer, connection: Arc::clone(&self.connection), name: self.name.clone() }
    }

    /// Waits until that many messages wait on the queue.
    pub(crate) async fn depth_becomes(&self, expected: u64) {
        let clock = SystemClock::new();
        let start = clock.now();
        loop {
            let depth = within("a look at the depth", self.connection.depth(&self.name)).await.unwrap();
            if depth == Some(expected) {
                return;
            }
            assert!(
                clock.now().since(start) < DEADLINE,
                "the depth of {} is {depth:?} and was to become {expected}",
                self.name
            );
            glance().await;
        }
    }

    /// Closes the connection and checks that exactly these messages, in any order, are on the queue then.
    ///
    /// A new consumer with room for these and a marker holds them all: what else there were would be among them, or
    /// counted as waiting.
    pub(crate) async fn leaves<B: Display>(self, expected: impl IntoIterator<Item = B>) {
        within("a close", self.connection.close()).await;
        let mut expected: Vec<String> = expected.into_iter().map(|body| body.to_string()).collect();
        expected.push(MARKER.to_owned());
        expected.sort_unstable();
        let line = self.reconnected().await;
        line.publish([MARKER]).await;
        let mut tap = line.consume(u16::try_from(expected.len()).unwrap()).await;
        let held = tap.take(expected.len()).await;
        assert_eq!(texts(&held), expected);
        line.depth_becomes(0).await;
        Delivery::settle_all(held, Settlement::Ack).await.unwrap();
    }
}

/// A consumer of a [`Line`].
pub(crate) struct Tap {
    pub(crate) consumer: Consumer,
    connection: Arc<dyn TaskQueue>,
    name: String,
}

impl Tap {
    /// The next delivery, which must come.
    pub(crate) async fn next(&mut self) -> Delivery {
        self.take(1).await.remove(0)
    }

    /// The next deliveries, which must come, in order; all are in hand at once.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            match SystemClock::new().timeout(DEADLINE, self.consumer.next()).await {
                Ok(Some(delivery)) => taken.push(delivery),
                Ok(None) => panic!("the stream of {} ended after {} of {count}", self.name, taken.len()),
                Err(_) => panic!(
                    "{} of {count} deliveries of {} came within {DEADLINE:?}; its depth is {:?}; in hand are {:?}",
                    taken.len(),
                    self.name,
                    self.connection.depth(&self.name).await,
                    texts(&taken),
                ),
            }
        }
        taken
    }

    /// The stream's end, which must come; what came before it.
    pub(crate) async fn rest(&mut self) -> Vec<Delivery> {
        let name = format!("the end of the stream of {}", self.name);
        within(&name, self.consumer.by_ref().collect()).await
    }

    /// Nothing is there at this moment. Only of use once something else has shown that it would be.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.consumer.next().now_or_never().is_none()
    }
}

pub(crate) fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body).into_owned()
}

/// The bodies, sorted.
pub(crate) fn texts(deliveries: &[Delivery]) -> Vec<String> {
    let mut texts: Vec<String> = deliveries.iter().map(text).collect();
    texts.sort_unstable();
    texts
}

pub(crate) fn headers<const N: usize>(pairs: [(&str, &str); N]) -> Headers {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
