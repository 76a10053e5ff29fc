//! The connection to the queues, which is what users hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use job_core::queue::{ConsumeOptions, Consumer, Publication, PublishOutcome, TaskQueue};
use job_core::{Error, Result};

use crate::broker::Broker;
use crate::consumer::{Deliveries, Membership};
use crate::options::MemoryQueueOptions;

/// A connection to queues in the memory of this process.
///
/// The queues live as long as any connection to them, consumer or delivery of theirs. Nothing here ever waits, so
/// every future is done when it is first polled and dropping one early leaves nothing half done.
#[derive(Debug)]
pub struct MemoryQueue {
    broker: Arc<Broker>,
    connection: u64,
    /// Whether the queues were there before this connection.
    found: bool,
    closed: AtomicBool,
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryQueue {
    /// Queues of their own, with the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::with_options(MemoryQueueOptions::default())
    }

    /// Queues of their own.
    #[must_use]
    pub fn with_options(options: MemoryQueueOptions) -> Self {
        Self::of(Arc::new(Broker::new(options)), false)
    }

    /// Another connection to the same queues, open even when this one is closed: what a second process, or the same
    /// one after a restart, has with a broker. To it the queues are durable.
    #[must_use]
    pub fn connect(&self) -> Self {
        Self::of(Arc::clone(&self.broker), true)
    }

    /// Deletes a queue with its messages, as an operator might; `false` when there is none.
    ///
    /// Deliveries in hand can still be settled; requeueing them drops them. Consumers wait for the queue to be declared
    /// again.
    pub fn delete_queue(&self, queue: &str) -> bool {
        self.broker.find(queue).is_some_and(|queue| queue.change(|contents| contents.delete()))
    }

    /// Drops the messages that wait on a queue, as an operator might, and returns how many there were.
    pub fn purge(&self, queue: &str) -> usize {
        self.broker.find(queue).map_or(0, |queue| queue.change(|contents| contents.purge()))
    }

    fn of(broker: Arc<Broker>, found: bool) -> Self {
        let connection = broker.next_connection();
        Self { broker, connection, found, closed: AtomicBool::new(false) }
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(
                Error::unavailable("the connection to the queues is closed").with_operation(operation)
            );
        }
        Ok(())
    }
}

#[async_trait]
impl TaskQueue for MemoryQueue {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        self.check_open("queue::publish")?;
        Ok(self.broker.publish(messages))
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        const OPERATION: &str = "queue::consume";
        if options.prefetch == 0 {
            return Err(Error::invalid("the prefetch is at least 1").with_operation(OPERATION));
        }
        let queue = self.broker.entry(queue).map_err(|error| error.with_operation(OPERATION))?;
        // `close` marks the connection before it looks into any queue, so checking under the queue's lock leaves no
        // moment at which a consumer could slip in behind it.
        let key = queue.change(|contents| {
            self.check_open(OPERATION).map(|()| contents.join(self.connection, options.prefetch))
        })?;
        Ok(Consumer::new(Deliveries(Arc::new(Membership::new(Arc::clone(&self.broker), queue, key)))))
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        self.check_open("queue::declare")?;
        let queue = self.broker.entry(queue).map_err(|error| error.with_operation("queue::declare"))?;
        queue.lock().declare();
        Ok(())
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        self.check_open("queue::depth")?;
        let depth = self.broker.find(queue).and_then(|queue| queue.lock().depth());
        Ok(depth.map(|depth| u64::try_from(depth).unwrap_or(u64::MAX)))
    }

    fn is_durable(&self) -> bool {
        self.found
    }

    async fn ping(&self) -> Result<()> {
        self.check_open("queue::ping")
    }

    async fn close(&self) {
        if self.closed.swap(true, Ordering::SeqCst) {
            return;
        }
        for queue in self.broker.all() {
            let cut_off = queue.change(|contents| contents.cut_off(self.connection));
            cut_off.into_iter().for_each(std::task::Waker::wake);
        }
    }
}
