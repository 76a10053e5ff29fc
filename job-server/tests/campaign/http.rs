//! One request, one connection: a client that survives whatever becomes of the server.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::join;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::RETRY_AFTER;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use job_core::{ClockExt as _, SystemClock};
use tokio::net::TcpStream;

/// Longer than any answer may take; see the server's own limits.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that arrived.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) has_retry_after: bool,
    pub(crate) body: String,
}

/// Asks, and returns the answer; none when the connection was refused or broke, so that nobody knows what happened.
pub(crate) async fn call(address: SocketAddr, method: Method, path: &str, body: String) -> Option<Reply> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("Host", address.to_string())
        .header("Content-Type", "application/json")
        .header("Connection", "close")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    SystemClock::new().timeout(PATIENCE, exchange(address, request)).await.ok()?
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Option<Reply> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    let asking = async move {
        let response = sender.send_request(request).await.ok()?;
        let (status, has_retry_after) =
            (response.status().as_u16(), response.headers().contains_key(RETRY_AFTER));
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(Reply { status, has_retry_after, body: String::from_utf8_lossy(&body).into_owned() })
    };
    // The connection ends with its sender.
    join(asking, connection).await.0
}
