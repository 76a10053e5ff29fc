//! A queue of wake-ups, for deployments whose other parts announce new jobs there.

use futures::StreamExt as _;

use crate::backoff::Backoff;
use crate::clock::Clock;
use crate::queue::{ConsumeOptions, Consumer, TaskQueue};
use crate::shutdown::Shutdown;
use crate::signals::Signals;

/// Wake-ups in hand at once; they cost nothing, and one look answers them all.
const PREFETCH: u16 = 100;

pub(super) struct WakeQueue<'a> {
    pub(super) name: &'a str,
    pub(super) queue: &'a dyn TaskQueue,
    pub(super) clock: &'a dyn Clock,
    pub(super) signals: &'a Signals,
}

impl WakeQueue<'_> {
    /// Until stopping is asked for. A queue that cannot be consumed costs only latency: the dispatcher polls.
    pub(super) async fn listen(&self, shutdown: &Shutdown) {
        let mut failures = 0;
        while !shutdown.is_stopping() {
            let consumer = tokio::select! {
                () = shutdown.stopping() => return,
                consumer = self.queue.consume(self.name, ConsumeOptions { prefetch: PREFETCH }) => consumer,
            };
            match consumer {
                Ok(consumer) => {
                    failures = 0;
                    self.pass_on(consumer, shutdown).await;
                }
                Err(error) => {
                    tracing::warn!(%error, queue.name = self.name, "the queue of wake-ups cannot be consumed")
                }
            }
            let wait = Backoff::RECONNECT.wait(failures, 2);
            failures = failures.saturating_add(1);
            tokio::select! {
                () = shutdown.stopping() => {}
                () = self.clock.sleep(wait) => {}
            }
        }
    }

    /// What a message says is of no interest, so that none can be malformed.
    async fn pass_on(&self, mut consumer: Consumer, shutdown: &Shutdown) {
        loop {
            let delivery = tokio::select! {
                biased;
                () = shutdown.stopping() => return,
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            self.signals.wake_dispatcher();
            if let Err(error) = delivery.ack().await {
                tracing::debug!(%error, queue.name = self.name, "a wake-up will come again");
            }
        }
    }
}
