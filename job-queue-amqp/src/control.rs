//! Declaring queues, looking at them, and asking whether the broker is there: on a connection of its own, because the
//! broker answers a wrong question by closing the channel it was asked on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use job_core::clock::TimedOut;
use job_core::{Clock, ClockExt, Error, Result};
use lapin::Channel;
use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::error::Failure;
use crate::headers::NAME_BYTES_MAX;
use crate::link::Link;
use crate::live::Live;
use crate::options::{AmqpOptions, QueueType};

/// Idle channels that are kept.
const IDLE_MAX: usize = 8;

/// What is known about the broker on one connection.
#[derive(Debug, Default)]
struct Known {
    epoch: u64,
    idle: Vec<Channel>,
    declared: HashSet<String>,
}

#[derive(Debug)]
pub(crate) struct Control {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    limit: Duration,
    arguments: FieldTable,
    known: Mutex<Known>,
}

impl Control {
    pub(crate) fn new(link: Arc<Link>, options: &AmqpOptions, clock: &Arc<dyn Clock>) -> Self {
        Self {
            link,
            clock: Arc::clone(clock),
            limit: options.confirm_timeout,
            arguments: arguments(options),
            known: Mutex::default(),
        }
    }

    /// Declares a queue unless that was done over this connection to the broker.
    pub(crate) async fn ensure(&self, queue: &str) -> Result<()> {
        if self.is_declared(queue) {
            return Ok(());
        }
        self.declare(queue).await
    }

    /// Declares a queue; one that exists with other settings is used as it is.
    pub(crate) async fn declare(&self, queue: &str) -> Result<()> {
        const OPERATION: &str = "queue::declare";
        let name = name(queue)?;
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let (live, channel) = self.channel().await.map_err(|failure| failure.into_error(OPERATION))?;
        let declaring = channel.queue_declare(name.clone(), durable, self.arguments.clone());
        let declared = self.clock.timeout(self.limit, declaring).await;
        let declared = self.answered(&live, channel, declared);
        let epoch = match declared {
            Ok(_) => live.epoch,
            Err(failure) if matches!(failure.refusal(), Some(AMQPSoftError::PRECONDITIONFAILED)) => {
                let (epoch, _) = self.look(&name).await.map_err(|failure| failure.into_error(OPERATION))?;
                tracing::info!(queue.name = queue, "a queue exists with other settings and is used as it is");
                epoch
            }
            Err(failure) => return Err(failure.into_error(OPERATION).with_context("queue", queue)),
        };
        self.known(epoch, |known| known.declared.insert(queue.to_owned()));
        Ok(())
    }

    /// Whether the queue was declared over the present connection.
    pub(crate) fn is_declared(&self, queue: &str) -> bool {
        let Ok(live) = self.link.current() else { return false };
        self.known(live.epoch, |known| known.declared.contains(queue)).unwrap_or_default()
    }

    /// The queue turned out to be missing.
    pub(crate) fn forget(&self, queue: &str) {
        self.lock().declared.remove(queue);
    }

    /// How many messages wait; `None` when the queue does not exist.
    pub(crate) async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        match self.look(&name(queue)?).await {
            Ok((_, depth)) => Ok(Some(depth)),
            Err(failure) if matches!(failure.refusal(), Some(AMQPSoftError::NOTFOUND)) => Ok(None),
            Err(failure) => Err(failure.into_error("queue::depth").with_context("queue", queue)),
        }
    }

    /// Asks the broker something that it always answers.
    pub(crate) async fn ping(&self) -> Result<()> {
        // Not waiting for a connection: a connection that is not there is the answer.
        let asked = match self.link.current() {
            Ok(_) => self.round_trip().await,
            Err(failure) => Err(failure),
        };
        asked.map_err(|failure| failure.into_error("queue::ping"))
    }

    async fn round_trip(&self) -> Result<(), Failure> {
        let (live, channel) = self.channel().await?;
        let answer = self.clock.timeout(self.limit, channel.basic_qos(1, BasicQosOptions::default())).await;
        self.answered(&live, channel, answer)
    }

    async fn look(&self, name: &ShortString) -> Result<(u64, u64), Failure> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let (live, channel) = self.channel().await?;
        let looking = channel.queue_declare(name.clone(), passive, FieldTable::default());
        let seen = self.clock.timeout(self.limit, looking).await;
        let queue = self.answered(&live, channel, seen)?;
        Ok((live.epoch, u64::from(queue.message_count())))
    }

    /// A channel that nobody else uses.
    async fn channel(&self) -> Result<(Arc<Live>, Channel), Failure> {
        let live = self.link.live(self.limit).await?;
        if let Some(channel) = self.known(live.epoch, |known| known.idle.pop()).flatten() {
            return Ok((live, channel));
        }
        let channel =
            self.clock.timeout(self.limit, live.open_channel()).await.map_err(|_| Failure::Silent)??;
        Ok((live, channel))
    }

    /// Keeps the channel for the next question if it is still good.
    fn answered<T>(
        &self,
        live: &Live,
        channel: Channel,
        answer: Result<lapin::Result<T>, TimedOut>,
    ) -> Result<T, Failure> {
        let answer = answer.map_err(|TimedOut| Failure::Silent)??;
        self.known(live.epoch, |known| {
            if known.idle.len() < IDLE_MAX {
                known.idle.push(channel);
            }
        });
        Ok(answer)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses what is known on the connection with this epoch, unless there is a newer one.
    fn known<T>(&self, epoch: u64, use_it: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let mut known = self.lock();
        if known.epoch < epoch {
            *known = Known { epoch, ..Known::default() };
        }
        (known.epoch == epoch).then(|| use_it(&mut known))
    }
}

/// A queue's name as AMQP takes it.
pub(crate) fn name(queue: &str) -> Result<ShortString> {
    // The broker would make up a name for an empty one.
    if queue.is_empty() {
        return Err(Error::invalid("the name of a queue must not be empty"));
    }
    ShortString::try_new(queue).map_err(|_| {
        let length = queue.len();
        Error::invalid(format!(
            "the name of a queue has {length} bytes: at most {NAME_BYTES_MAX} are allowed"
        ))
    })
}

/// Those of the messaging contract §2.1 and no others: Java workers declare the same queues.
fn arguments(options: &AmqpOptions) -> FieldTable {
    let mut arguments = FieldTable::default();
    let queue_type = AMQPValue::LongString(options.queue_type.as_str().into());
    arguments.insert("x-queue-type".into(), queue_type);
    if options.queue_type == QueueType::Classic && options.max_priority > 0 {
        // The same integer type as the Java client: RabbitMQ compares the numbers, but shows the type.
        arguments.insert("x-max-priority".into(), AMQPValue::LongInt(options.max_priority.into()));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_declared_as_java_workers_declare_them() {
        let options = AmqpOptions::from_uri("amqp://h").unwrap();
        let of = |options: AmqpOptions| {
            let arguments = arguments(&options);
            let shown = arguments.inner().iter().map(|(name, value)| (name.to_string(), value.clone()));
            shown.collect::<Vec<_>>()
        };
        let queue_type = |text: &str| ("x-queue-type".to_owned(), AMQPValue::LongString(text.into()));
        assert_eq!(of(options.clone().with_max_priority(5)), [queue_type("quorum")]);
        let classic = options.with_queue_type(QueueType::Classic);
        assert_eq!(of(classic.clone()), [queue_type("classic")]);
        let priority = ("x-max-priority".to_owned(), AMQPValue::LongInt(5));
        assert_eq!(of(classic.with_max_priority(5)), [priority, queue_type("classic")]);
    }

    #[test]
    fn names_have_a_length() {
        assert!(name(&"x".repeat(255)).is_ok());
        for wrong in [String::new(), "x".repeat(256), "ü".repeat(128)] {
            assert!(!name(&wrong).unwrap_err().is_transient());
        }
    }
}
