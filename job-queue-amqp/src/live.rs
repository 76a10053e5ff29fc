//! One connection to the broker, from its opening to its loss. It is never revived: a channel, and with it every delivery
//! tag, belongs to one connection only, so that an old tag cannot settle a new delivery.

use std::fmt;
use std::io;
use std::net::{Shutdown as Directions, SocketAddr};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::TokioRuntime;
use futures::{Stream, StreamExt};
use job_core::{Clock, ClockExt};
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Notify, watch};

use crate::error::Failure;
use crate::options::AmqpOptions;

/// How often a connection is looked at when nothing is heard about it.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// lapin never lets go of the number of a channel that the broker closed, and hands it out again once all numbers were
/// used: such attempts fail at once, and the next number may be free.
const CHANNEL_ATTEMPTS: u32 = 64;
const SUCCESS: u16 = 200;

/// A connection. Dropping it ends it at once.
pub(crate) struct Live {
    connection: Connection,
    socket: Socket,
    /// Why the broker lets nobody publish, if it does not.
    blocked: watch::Sender<Option<String>>,
    lost: watch::Sender<bool>,
    suspected: Notify,
    /// Differs between the connections of one link.
    pub(crate) epoch: u64,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Live {
    /// Connects and logs in within `limit`.
    pub(crate) async fn open(
        options: &AmqpOptions,
        role: &str,
        epoch: u64,
        clock: &Arc<dyn Clock>,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let socket = Socket::default();
        match clock.timeout(limit, connect(options, role, &socket, clock, limit)).await {
            Ok(connection) => Ok(Self {
                connection: connection?,
                socket,
                blocked: watch::Sender::default(),
                lost: watch::Sender::new(false),
                suspected: Notify::new(),
                epoch,
            }),
            Err(_) => {
                // lapin's thread waits for the broker's answer for ever otherwise.
                socket.shut_down();
                Err(Failure::Silent)
            }
        }
    }

    /// Completes when the connection is lost. Events are heard from this call on, not from the first poll.
    pub(crate) fn watch<'a>(&'a self, clock: &'a dyn Clock) -> impl Future<Output = ()> + Send + 'a {
        let events = self.connection.events_listener();
        self.hear(Box::pin(events), clock)
    }

    async fn hear(&self, mut events: impl Stream<Item = Event> + Send + Unpin, clock: &dyn Clock) {
        while self.connection.status().connected() {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(why)) => {
                        tracing::warn!(reason = why, "the broker blocks publishers");
                        self.blocked.send_replace(Some(why));
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!("the broker lets publishers go on");
                        self.blocked.send_replace(None);
                    }
                    Some(_) => {}
                    None => break,
                },
                () = self.suspected.notified() => {}
                // Not every way of ending a connection makes an event.
                () = clock.sleep(LOOK_INTERVAL) => {}
            }
        }
        self.end();
    }

    /// Whether it can be used.
    pub(crate) fn is_connected(&self) -> bool {
        self.connection.status().connected()
    }

    /// Why publishers are blocked, if they are.
    pub(crate) fn blocked(&self) -> Option<String> {
        // lapin knows first, its events tell why.
        let known = self.connection.status().blocked().then(|| self.blocked.borrow().clone());
        known.map(|why| why.unwrap_or_else(|| "resource alarm".to_owned()))
    }

    /// Completes when publishers are not blocked, or the connection is lost.
    pub(crate) async fn unblocked(&self) {
        let mut blocked = self.blocked.subscribe();
        while self.blocked().is_some() && self.is_connected() {
            tokio::select! {
                _ = blocked.changed() => {}
                () = self.lost() => return,
            }
        }
    }

    /// Completes when the connection is lost.
    pub(crate) async fn lost(&self) {
        // The sender lives in `self`.
        let _ = self.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// A new channel. The caller bounds the wait.
    pub(crate) async fn open_channel(&self) -> Result<Channel, Failure> {
        let mut attempts = CHANNEL_ATTEMPTS;
        loop {
            attempts -= 1;
            match self.connection.create_channel().await {
                Ok(channel) => return Ok(channel),
                Err(error) if !self.is_connected() => {
                    self.suspected.notify_one();
                    return Err(error.into());
                }
                Err(error) if attempts == 0 => {
                    tracing::info!(%error, "a connection has used up its channels and is replaced");
                    self.end();
                    self.suspected.notify_one();
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
    }

    /// Says goodbye, so that everything written before is taken note of; at most for `limit`.
    pub(crate) async fn close(&self, clock: &dyn Clock, limit: Duration) {
        if self.is_connected() {
            let goodbye = self.connection.close(SUCCESS, "goodbye".into());
            let _ = clock.timeout(limit, goodbye).await;
        }
        self.end();
    }

    /// Ends it at once.
    pub(crate) fn end(&self) {
        self.socket.shut_down();
        self.lost.send_replace(true);
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets us end a connection whose broker does not answer: lapin has no way to.
#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Option<std::net::TcpStream>>>);

impl Socket {
    fn keep(&self, socket: &impl AsFd) -> io::Result<()> {
        let handle = socket.as_fd().try_clone_to_owned()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle.into());
        Ok(())
    }

    fn shut_down(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails when the other side was faster.
            let _ = socket.shutdown(Directions::Both);
        }
    }
}

async fn connect(
    options: &AmqpOptions,
    role: &str,
    socket: &Socket,
    clock: &Arc<dyn Clock>,
    limit: Duration,
) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default()
        .with_connection_name(format!("{} {role}", options.connection_name).into());
    let uri = options.endpoint.to_lapin(options.heartbeat_seconds);
    let tls = OwnedTLSConfig { identity: None, cert_chain: options.ca_certificates.clone() };
    let (socket, clock) = (socket.clone(), Arc::clone(clock));
    // lapin runs this on a thread that nothing else ends.
    let open_stream = async move |uri: AMQPUri, runtime: TokioRuntime| {
        let opening = async {
            let AMQPAuthority { host, port, .. } = &uri.authority;
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
            if let AsyncTcpStream::Plain(stream) = &stream {
                socket.keep(stream.get_ref())?;
            }
            match uri.scheme {
                AMQPScheme::AMQP => Ok(stream),
                AMQPScheme::AMQPS => stream.into_tls(host, tls.as_ref()).await,
            }
        };
        let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
        clock.timeout(limit, opening).await.map_err(timed_out)?.map_err(lapin::Error::from)
    };
    Connection::connector(uri, lapin::runtime::default_runtime()?, open_stream, properties).await
}
