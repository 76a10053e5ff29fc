//! Accepting connections, within a limit.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use job_core::{ClockExt as _, Shutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

use super::bare_answer::bare_answer;
use super::connection;
use super::places::{Full, Place};
use super::site::Site;
use super::stall_guard::StallGuard;
use super::tls::Tls;

/// How long to wait after an accept failed, usually because the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Who is at the other end.
    pub(crate) peer: SocketAddr,
    /// Whether nobody between them and us can read it.
    pub(crate) is_tls: bool,
    /// Whether only this machine reaches the address that was called.
    pub(crate) is_local: bool,
}

/// A bound address that does not accept yet.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let socket =
            TcpListener::bind(address).await.with_context(|| format!("{address} cannot be listened on"))?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `site` until `shutdown` stops, over TLS if it is given. Connections are tasks of `shutdown`.
    pub(crate) async fn run(self, site: Arc<Site>, tls: Option<Arc<Tls>>, shutdown: Shutdown) {
        let clock = site.clock();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.stopping() => break,
                accepted = self.socket.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    clock.sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let place = match site.places().take(peer.ip()) {
                Ok(place) => place,
                // Before the handshake there is nothing that such a client could read.
                Err(_) if tls.is_some() => continue,
                Err(full) => {
                    refuse(stream, full);
                    continue;
                }
            };
            // Without it small answers may wait for the client's delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            // Under TLS, which buffers what the client does not take.
            let stream = StallGuard::new(stream, Arc::clone(&clock), site.limits().write_stall_time);
            let way = Way { peer, is_tls: tls.is_some(), is_local: self.address.ip().is_loopback() };
            let (site, tls, stop) = (Arc::clone(&site), tls.clone(), shutdown.clone());
            let place = Arc::new(place);
            shutdown.spawn(async move {
                match tls {
                    None => connection::serve(stream, way, site, stop, place).await,
                    Some(tls) => {
                        if let Some(stream) = shake_hands(stream, &tls, &site, &stop, &place).await {
                            connection::serve(stream, way, site, stop, place).await;
                        }
                    }
                }
            });
        }
    }
}

/// The encrypted stream, unless the client does not keep to the protocol, is slow, has to make room, or the server stops.
async fn shake_hands(
    stream: StallGuard<TcpStream>,
    tls: &Tls,
    site: &Site,
    shutdown: &Shutdown,
    place: &Place,
) -> Option<TlsStream<StallGuard<TcpStream>>> {
    let clock = site.clock();
    let shaking = clock.timeout(site.limits().header_time, tls.acceptor().accept(stream));
    let shaken = tokio::select! {
        biased;
        () = shutdown.stopping() => return None,
        () = place.lost() => return None,
        shaken = shaking => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a TLS handshake took too long");
            None
        }
    }
}

/// Says no without waiting for anything; a client too slow to take it finds the connection closed.
fn refuse(stream: TcpStream, full: Full) {
    let message = match full {
        Full::InAll => "too many connections: try again in a moment",
        Full::ForAddress => "too many connections from this address: use fewer",
    };
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(&bare_answer("503 Service Unavailable", message));
    }
}
