//! Requests to a server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, LINK};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use job_core::{Clock, ClockExt as _, SystemClock};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::arguments::ConnectionArguments;
use super::text;
use crate::query_string::UNRESERVED;

const ANSWER_BYTES_MAX: usize = 256 << 20;
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Longer than the longest long poll, and than a bulk action may take.
const ANSWER_TIME: Duration = Duration::from_secs(330);
/// `text` as a piece of a URL.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The server did not answer at all, or that it cannot at the moment: another attempt may go better.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unreachable(String);

/// An answer of a server that was content.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// The target of the next page.
    pub(super) next: Option<String>,
}

impl Reply {
    pub(super) fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("the server's answer is not JSON: is it a Job Service?")
    }
}

/// A server, and the partition that is talked about.
#[derive(Debug)]
pub(super) struct Service {
    authority: String,
    address: String,
    base: String,
    token: Option<HeaderValue>,
    pub(super) partition: String,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn new(arguments: &ConnectionArguments) -> anyhow::Result<Self> {
        let url = &arguments.server;
        let uri: Uri = url.parse().with_context(|| format!("--server: {url:?} is not a URL"))?;
        if uri.scheme_str() != Some("http") {
            bail!("--server: {url:?} is not understood: expected http://HOST[:PORT]");
        }
        let authority = uri.authority().context("--server names no host: expected http://HOST[:PORT]")?;
        let token = arguments.token.as_ref().filter(|token| !token.is_empty()).map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| anyhow::anyhow!("--token holds characters that a header cannot"))?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        Ok(Self {
            authority: authority.to_string(),
            address: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)),
            base: uri.path().trim_end_matches('/').to_owned(),
            token: token.transpose()?,
            partition: arguments.partition.clone(),
            clock: Arc::new(SystemClock::new()),
        })
    }

    /// The path of `rest` in the partition.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/job-service/v1/partitions/{}{rest}", escaped(&self.partition))
    }

    /// The path of a job, with `rest` behind it.
    pub(super) fn job(&self, id: &str, rest: &str) -> String {
        self.path(&format!("/jobs/{}{rest}", escaped(id)))
    }

    pub(super) async fn get(&self, target: &str) -> anyhow::Result<Reply> {
        self.send(Method::GET, target, Bytes::new()).await
    }

    pub(super) async fn post(&self, target: &str) -> anyhow::Result<Reply> {
        self.send(Method::POST, target, Bytes::new()).await
    }

    /// Sends a request. An answer that is not a success is an error with the server's sentence.
    pub(super) async fn send(&self, method: Method, target: &str, body: Bytes) -> anyhow::Result<Reply> {
        let exchange = self.exchange(method, target, body);
        match self.clock.timeout(ANSWER_TIME, exchange).await {
            Ok(reply) => reply,
            Err(_) => Err(Unreachable(format!("the server at {} does not answer", self.authority)).into()),
        }
    }

    async fn exchange(&self, method: Method, target: &str, body: Bytes) -> anyhow::Result<Reply> {
        let broken = |error: &dyn std::fmt::Display| {
            anyhow::Error::from(Unreachable(format!("the server at {} broke off: {error}", self.authority)))
        };
        let connecting = tokio::net::TcpStream::connect(self.address.as_str());
        let stream = match self.clock.timeout(CONNECT_TIME, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let what = format!("the server at {} cannot be reached: {error}", self.authority);
                return Err(Unreachable(what).into());
            }
            Err(_) => {
                return Err(Unreachable(format!("the server at {} cannot be reached", self.authority)).into());
            }
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.base))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).context("the request cannot be written")?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status();
            let next = response.headers().get(LINK).and_then(next_target);
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| broken(&error))?.to_bytes();
            // The sender is dropped here, which lets the connection end.
            anyhow::Ok(Reply { status, body, next })
        };
        let (reply, _) = tokio::join!(exchange, connection);
        content(reply?)
    }
}

fn next_target(link: &HeaderValue) -> Option<String> {
    let (target, rest) = link.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| target.to_owned())
}

fn content(reply: Reply) -> anyhow::Result<Reply> {
    if reply.status.is_success() {
        return Ok(reply);
    }
    let said = serde_json::from_slice::<Value>(&reply.body).ok();
    let said = said.as_ref().and_then(|body| body["message"].as_str());
    let sentence = match said {
        Some(message) => text::printable(message),
        None => format!("the server answered {}", reply.status),
    };
    match reply.status {
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            Err(Unreachable(sentence).into())
        }
        _ => Err(anyhow::anyhow!(sentence)),
    }
}
