//! How to reach a broker and how to use it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use job_core::{Error, Result};

use crate::uri::Endpoint;

/// What kind of queue is declared when one is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueType {
    /// Replicated, counts redeliveries.
    #[default]
    Quorum,
    /// On one node; only flags redeliveries.
    Classic,
}

impl QueueType {
    /// As in the argument `x-queue-type` and in `CAF_RABBITMQ_QUEUE_TYPE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quorum => "quorum",
            Self::Classic => "classic",
        }
    }
}

impl fmt::Display for QueueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for QueueType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Quorum, Self::Classic]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| Error::invalid(format!("the queue type is {text:?}: expected quorum or classic")))
    }
}

/// Settings of an [`AmqpQueue`](crate::AmqpQueue). `Debug` never shows credentials.
///
/// ```
/// use job_queue_amqp::{AmqpOptions, QueueType};
///
/// let options = AmqpOptions::from_uri("amqps://user:secret@broker.example/jobs")?
///     .with_queue_type(QueueType::Classic)
///     .with_max_priority(5);
/// assert!(!format!("{options:?}").contains("secret"));
/// # Ok::<(), job_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AmqpOptions {
    pub(crate) endpoint: Endpoint,
    pub(crate) connection_name: String,
    pub(crate) ca_certificates: Option<String>,
    pub(crate) queue_type: QueueType,
    pub(crate) max_priority: u8,
    pub(crate) declare_on_publish: bool,
    pub(crate) confirm_timeout: Duration,
    pub(crate) in_flight_messages: usize,
    pub(crate) in_flight_bytes: usize,
    pub(crate) heartbeat_seconds: u16,
    pub(crate) idle_limit: Duration,
}

impl AmqpOptions {
    /// A broker by `amqp[s]://user:password@host:port/virtual-host`; escape special characters with `%`. Absent parts are
    /// `guest`, the protocol's port and the virtual host `/`.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn from_uri(uri: &str) -> Result<Self> {
        Endpoint::from_uri(uri).map(Self::of)
    }

    /// A broker by the parts that CAF's settings consist of, unescaped; on the virtual host `/`.
    ///
    /// # Errors
    /// When the protocol is neither `amqp` nor `amqps`, or the host is empty.
    pub fn from_parts(protocol: &str, host: &str, port: u16, user: &str, password: &str) -> Result<Self> {
        Endpoint::from_parts(protocol, host, Some(port), user.to_owned(), password.to_owned()).map(Self::of)
    }

    fn of(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            connection_name: "job-service".to_owned(),
            ca_certificates: None,
            queue_type: QueueType::default(),
            max_priority: 0,
            declare_on_publish: true,
            confirm_timeout: Duration::from_secs(10),
            in_flight_messages: 1_000,
            in_flight_bytes: 64 << 20,
            heartbeat_seconds: 6,
            idle_limit: Duration::from_secs(30),
        }
    }

    /// The name under which the broker lists the connections; `job-service` by default.
    #[must_use]
    pub fn with_connection_name(mut self, name: impl Into<String>) -> Self {
        self.connection_name = name.into();
        self
    }

    /// Certificates (PEM) of authorities to trust beside the system's. With `amqps` the broker's certificate and name are
    /// always verified.
    #[must_use]
    pub fn with_ca_certificates(mut self, pem: impl Into<String>) -> Self {
        self.ca_certificates = Some(pem.into());
        self
    }

    /// Whether the connection is encrypted and the broker's certificate and name are verified (`amqps`).
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.endpoint.is_encrypted()
    }

    /// How missing queues are declared; quorum by default. A queue that exists is used as it is.
    #[must_use]
    pub fn with_queue_type(mut self, queue_type: QueueType) -> Self {
        self.queue_type = queue_type;
        self
    }

    /// `x-max-priority` of the classic queues that are declared; 0, the default, leaves it out.
    #[must_use]
    pub fn with_max_priority(mut self, max_priority: u8) -> Self {
        self.max_priority = max_priority;
        self
    }

    /// Whether publishing declares a missing queue (the default); otherwise the message is unroutable.
    #[must_use]
    pub fn with_declare_on_publish(mut self, declare: bool) -> Self {
        self.declare_on_publish = declare;
        self
    }

    /// How long a message waits for its confirmation, a publish for a connection or for the broker to unblock, and any
    /// other call for its answer; 10 s by default.
    #[must_use]
    pub fn with_confirm_timeout(mut self, timeout: Duration) -> Self {
        self.confirm_timeout = timeout;
        self
    }

    /// How many messages and bytes may be published and not yet confirmed; 1,000 and 64 MiB by default. A single message
    /// that is larger than all of it is sent alone.
    #[must_use]
    pub fn with_in_flight(mut self, messages: usize, bytes: usize) -> Self {
        self.in_flight_messages = messages.max(1);
        self.in_flight_bytes = bytes.max(1);
        self
    }

    /// How often both sides say that they are there; 6 s by default. A silent broker is given up after two to two and a
    /// half times that.
    #[must_use]
    pub fn with_heartbeat_seconds(mut self, seconds: u16) -> Self {
        self.heartbeat_seconds = seconds.max(1);
        self
    }

    /// How long a consumer that holds no delivery waits for one before it asks for them anew; 30 s by default. A broker may
    /// forget a consumer without telling it: RabbitMQ does when its queue is deleted and at once declared again, and would
    /// never deliver it anything again.
    #[must_use]
    pub fn with_idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_credentials() {
        for options in [
            AmqpOptions::from_uri("amqp://canary-user:canary-password@h/v"),
            AmqpOptions::from_parts("amqp", "h", 5672, "canary-user", "canary-password"),
        ] {
            let shown = format!("{:?}", options.unwrap());
            assert!(!shown.contains("canary"), "{shown}");
            assert!(shown.contains("amqp://h:5672"), "{shown}");
        }
    }

    #[test]
    fn queue_types_are_read_as_they_are_written() {
        for queue_type in [QueueType::Quorum, QueueType::Classic] {
            assert_eq!(queue_type.to_string().parse::<QueueType>().unwrap(), queue_type);
        }
        assert!("stream".parse::<QueueType>().is_err());
    }
}
