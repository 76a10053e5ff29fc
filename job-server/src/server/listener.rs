//! Accepting connections, within a limit.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use job_core::Shutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::bare_answer::bare_answer;
use super::connection;
use super::site::Site;

/// How long to wait after an accept failed, usually because the process has too many files open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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

    /// Serves `site` until `shutdown` stops. Connections are tasks of `shutdown`.
    pub(crate) async fn run(self, site: Arc<Site>, shutdown: Shutdown) {
        let slots = Arc::new(Semaphore::new(site.limits().connections_max));
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
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                refuse(stream);
                continue;
            };
            // Without it small answers may wait for the client's delayed acknowledgement.
            let _ = stream.set_nodelay(true);
            let (site, stop) = (Arc::clone(&site), shutdown.clone());
            shutdown.spawn(async move {
                let _slot = slot;
                connection::serve(stream, peer, site, stop).await;
            });
        }
    }
}

/// Says no without waiting for anything; a client too slow to take it finds the connection closed.
fn refuse(stream: TcpStream) {
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream
            .write(&bare_answer("503 Service Unavailable", "too many connections: try again in a moment"));
    }
}
