//! A proxy between the server and what it depends on that kills the server at a named moment of the conversation.
//!
//! From that moment on nothing passes any more in either direction, on any connection: the world has seen of the server
//! exactly what had passed before.

mod amqp;
mod postgres;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use job_core::{ClockExt as _, Shutdown, SystemClock};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::process::Process;

/// A moment in what the server says and is told. Texts are parts of statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The server asks for this statement; the database never hears it.
    Asks(&'static str),
    /// The database has carried out this statement; the server never hears it.
    Answered(&'static str),
    /// The same, for a statement that is a transaction by itself.
    AnsweredAlone(&'static str),
    /// The same, and the answer has a row that is more than a row of nulls.
    Found(&'static str),
    /// The server asks to commit a transaction with this statement; the database never hears it.
    AsksToCommit(&'static str),
    /// The database has committed a transaction with this statement; the server never hears it.
    Committed(&'static str),
    /// The broker has been given a message.
    Published,
    /// The broker has confirmed messages; the server never hears it.
    Confirmed,
    /// The server acks deliveries; the broker never hears it.
    AsksToAck,
    /// The broker has been given an ack of deliveries.
    Acked,
}

/// What is done to the server at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// SIGKILL.
    Kill,
    /// SIGSTOP; then everything passes as before.
    Freeze,
}

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    FromServer,
    ToServer,
}

/// What is to become of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pass,
    /// The server dies before the frame passes.
    KillBefore,
    /// The server dies when the frame has passed.
    KillAfter,
}

/// A conversation in a protocol that consists of frames.
trait Conversation: Send {
    /// The length of the first frame of `bytes`; none when it is not complete.
    fn frame(&self, way: Way, bytes: &[u8]) -> Option<usize>;

    /// Takes note of a frame, and says whether it is the moment.
    fn note(&mut self, way: Way, frame: &[u8], moment: Moment) -> Fate;
}

#[derive(Debug)]
pub(crate) struct Tripwire {
    moment: Moment,
    deed: Deed,
    /// How often the moment has still to pass by before it counts; none before it is armed.
    passes: Mutex<Option<u32>>,
    victim: OnceLock<Weak<Process>>,
    /// Nothing passes any more.
    is_over: AtomicBool,
    tripped: watch::Sender<bool>,
}

impl Tripwire {
    pub(crate) fn new(moment: Moment, deed: Deed) -> Arc<Self> {
        Arc::new(Self {
            moment,
            deed,
            passes: Mutex::new(None),
            victim: OnceLock::new(),
            is_over: AtomicBool::new(false),
            tripped: watch::Sender::new(false),
        })
    }

    /// From now on the moment counts, after it has passed by `passes` times.
    pub(crate) fn arm(&self, victim: &Arc<Process>, passes: u32) {
        self.victim.set(Arc::downgrade(victim)).unwrap();
        *self.passes.lock().unwrap() = Some(passes);
    }

    /// Whether the moment comes within `limit`.
    pub(crate) async fn trips(&self, limit: Duration) -> bool {
        let mut tripped = self.tripped.subscribe();
        let trips = async move { tripped.wait_for(|tripped| *tripped).await.is_ok() };
        SystemClock::new().timeout(limit, trips).await.unwrap_or(false)
    }

    /// A proxy in front of the PostgreSQL or RabbitMQ server that `url` names; returns the URL of the proxy.
    pub(crate) async fn before(self: &Arc<Self>, url: &str, tasks: &Shutdown) -> String {
        let authority = url.split("://").nth(1).unwrap().split('/').next().unwrap();
        let upstream = authority.rsplit('@').next().unwrap().to_owned();
        let is_amqp = url.starts_with("amqp");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy: SocketAddr = listener.local_addr().unwrap();
        let (wire, group) = (Arc::clone(self), tasks.clone());
        let proxied = url.replace(&upstream, &proxy.to_string());
        tasks.spawn(async move {
            let accepting = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let conversation: Box<dyn Conversation> =
                        if is_amqp { Box::new(amqp::Amqp) } else { Box::new(postgres::Postgres::default()) };
                    group.spawn(Arc::clone(&wire).relay(stream, upstream.clone(), conversation));
                }
            };
            tokio::select! {
                () = group.stopping() => {}
                () = accepting => {}
            }
        });
        proxied
    }

    async fn relay(
        self: Arc<Self>,
        server: TcpStream,
        upstream: String,
        conversation: Box<dyn Conversation>,
    ) {
        // Without an upstream the server sees a connection that ends at once.
        let Ok(upstream) = TcpStream::connect(upstream).await else { return };
        let (_, _) = (server.set_nodelay(true), upstream.set_nodelay(true));
        let (server_in, server_out) = server.into_split();
        let (upstream_in, upstream_out) = upstream.into_split();
        let conversation = Mutex::new(conversation);
        tokio::join!(
            self.pump(Way::FromServer, server_in, upstream_out, &conversation),
            self.pump(Way::ToServer, upstream_in, server_out, &conversation),
        );
    }

    /// Passes frames until one side ends; the other side is told so in order, for a reset could make it drop what it got.
    async fn pump(
        &self,
        way: Way,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        conversation: &Mutex<Box<dyn Conversation>>,
    ) {
        let mut bytes = Vec::new();
        while matches!(from.read_buf(&mut bytes).await, Ok(read) if read > 0) {
            let (passing, kills) = self.look(way, &bytes, conversation);
            let written = to.write_all(&bytes[..passing]).await;
            // Even if the other side has gone: from here on nothing passes, so nothing else would end the server.
            if kills {
                self.strike();
            }
            if written.is_err() {
                break;
            }
            bytes.drain(..passing);
        }
        let _ = to.shutdown().await;
    }

    /// How many bytes may pass, and whether the server is to die then.
    fn look(&self, way: Way, bytes: &[u8], conversation: &Mutex<Box<dyn Conversation>>) -> (usize, bool) {
        let mut conversation = conversation.lock().unwrap();
        if self.is_over.load(Ordering::SeqCst) {
            return (0, false);
        }
        let mut passing = 0;
        while let Some(length) = conversation.frame(way, &bytes[passing..]) {
            let fate = conversation.note(way, &bytes[passing..passing + length], self.moment);
            if fate != Fate::Pass && self.is_the_one() {
                if self.deed == Deed::Freeze {
                    self.strike();
                    passing += length;
                    continue;
                }
                self.is_over.store(true, Ordering::SeqCst);
                return (if fate == Fate::KillAfter { passing + length } else { passing }, true);
            }
            passing += length;
        }
        (passing, false)
    }

    /// Whether this occurrence of the moment is the one that counts.
    fn is_the_one(&self) -> bool {
        match &mut *self.passes.lock().unwrap() {
            None => false,
            Some(0) => true,
            Some(passes) => {
                *passes -= 1;
                false
            }
        }
    }

    fn strike(&self) {
        let Some(victim) = self.victim.get().and_then(Weak::upgrade) else { return };
        match self.deed {
            Deed::Kill => victim.kill(),
            Deed::Freeze => victim.signal("STOP"),
        }
        *self.passes.lock().unwrap() = None;
        self.tripped.send_replace(true);
    }
}
