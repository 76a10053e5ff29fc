//! The queue that users hold.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use job_core::queue::{ConsumeOptions, Consumer, Publication, PublishOutcome, TaskQueue};
use job_core::{Clock, Error, Result, Shutdown, SystemClock};

use crate::consumer::Consuming;
use crate::control::Control;
use crate::error::Failure;
use crate::link::Link;
use crate::options::AmqpOptions;
use crate::publisher::Publisher;

/// How long all tasks may take to end. Each of them bounds what it does.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// Ends the background tasks when nobody is left: neither a queue, nor a consumer, nor a delivery.
#[derive(Debug)]
pub(crate) struct Lifeline {
    work: Shutdown,
    links: Shutdown,
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.work.stop();
        self.links.stop();
    }
}

/// Queues on RabbitMQ.
///
/// It has three connections, restored for ever by tasks in the background: one for publishing, which the broker may block;
/// one for consuming, which it never blocks; and one for declaring and looking at queues, whose mistakes cost channels.
///
/// ```no_run
/// use futures::StreamExt;
/// use job_core::queue::{ConsumeOptions, Publication, PublishOutcome, TaskQueue};
/// use job_queue_amqp::{AmqpOptions, AmqpQueue};
///
/// # async fn example() -> job_core::Result<()> {
/// let queue = AmqpQueue::connect(AmqpOptions::from_uri("amqp://localhost")?).await?;
/// let outcomes = queue.publish(vec![Publication::new("images", "{}")]).await?;
/// assert_eq!(outcomes, [PublishOutcome::Confirmed]);
///
/// let mut consumer = queue.consume("images", ConsumeOptions { prefetch: 10 }).await?;
/// while let Some(delivery) = consumer.next().await {
///     delivery.ack().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct AmqpQueue {
    publishing: Arc<Link>,
    control: Arc<Control>,
    publisher: Publisher,
    consuming: Consuming,
    clock: Arc<dyn Clock>,
    /// Consumers and the like.
    work: Shutdown,
    /// The connections, which outlast the work on them.
    links: Shutdown,
    lifeline: Arc<Lifeline>,
}

impl AmqpQueue {
    /// Begins to connect and does not wait for it: a broker that is down now is waited for, and calls fail as unavailable
    /// meanwhile. On the current tokio runtime.
    #[must_use]
    pub fn start(options: &AmqpOptions) -> Self {
        Self::start_with(options, Arc::new(SystemClock::new()))
    }

    /// The same, with waits on this clock.
    #[must_use]
    pub fn start_with(options: &AmqpOptions, clock: Arc<dyn Clock>) -> Self {
        let (work, links) = (Shutdown::new(), Shutdown::new());
        let link = |role| Link::start(role, options, &clock, &links);
        let (publishing, consuming, controlling) = (link("publishing"), link("consuming"), link("control"));
        let control = Arc::new(Control::new(controlling, options, &clock));
        Self {
            publisher: Publisher::new(Arc::clone(&publishing), Arc::clone(&control), options, &clock, &work),
            consuming: Consuming::new(consuming, Arc::clone(&control), &clock, options, &work),
            publishing,
            control,
            clock,
            lifeline: Arc::new(Lifeline { work: work.clone(), links: links.clone() }),
            work,
            links,
        }
    }

    /// Connects, or says at once what is wrong with the address, the credentials or the broker.
    ///
    /// # Errors
    /// Transient: the broker may come up later.
    pub async fn connect(options: AmqpOptions) -> Result<Self> {
        let queue = Self::start(&options);
        match queue.publishing.first_attempt().await {
            Ok(_) => Ok(queue),
            Err(failure) => {
                queue.close().await;
                Err(failure.into_error("queue::connect"))
            }
        }
    }

    fn check_open(&self, operation: &'static str) -> Result<()> {
        if self.work.is_stopping() {
            return Err(Failure::Closed.into_error(operation));
        }
        Ok(())
    }
}

#[async_trait]
impl TaskQueue for AmqpQueue {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        self.check_open("queue::publish")?;
        self.publisher.publish(&messages).await
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        const OPERATION: &str = "queue::consume";
        self.check_open(OPERATION)?;
        // To the broker it would mean no bound at all.
        if options.prefetch == 0 {
            return Err(Error::invalid("the prefetch is at least 1").with_operation(OPERATION));
        }
        self.consuming.consume(queue, options.prefetch, Arc::clone(&self.lifeline)).await
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        self.check_open("queue::declare")?;
        self.control.declare(queue).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        self.check_open("queue::depth")?;
        self.control.depth(queue).await
    }

    fn is_durable(&self) -> bool {
        true
    }

    async fn ping(&self) -> Result<()> {
        const OPERATION: &str = "queue::ping";
        self.check_open(OPERATION)?;
        self.control.ping().await?;
        // A blocked one is reached all the same.
        self.publishing.current().map(drop).map_err(|failure| failure.into_error(OPERATION))
    }

    async fn close(&self) {
        self.work.drain(self.clock.as_ref(), CLOSE_LIMIT).await;
        self.links.drain(self.clock.as_ref(), CLOSE_LIMIT).await;
    }
}
