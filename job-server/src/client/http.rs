//! Requests to a server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LINK};
use hyper::{Method, Request, StatusCode, Uri};
use job_core::{Clock, ClockExt as _, SystemClock};
use percent_encoding::utf8_percent_encode;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::arguments::ConnectionArguments;
use super::text;
use crate::exchange::Remote;
pub(super) use crate::exchange::Unreachable;
use crate::query_string::UNRESERVED;

const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Longer than the longest long poll, and than a bulk action may take.
const ANSWER_TIME: Duration = Duration::from_secs(330);

const NOT_JSON: &str = "the server's answer is not JSON: is it a Job Service?";

/// `text` as a piece of a URL.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

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
        serde_json::from_slice(&self.body).context(NOT_JSON)
    }
}

/// A server, and the partition that is talked about.
#[derive(Debug)]
pub(super) struct Service {
    remote: Remote,
    base: String,
    token: Option<HeaderValue>,
    pub(super) partition: String,
    pub(super) clock: Arc<dyn Clock>,
}

impl Service {
    pub(super) fn new(arguments: &ConnectionArguments) -> anyhow::Result<Self> {
        let url = &arguments.server;
        let uri: Uri = url.parse().with_context(|| format!("--server: {url:?} is not a URL"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            bail!("--server names a user, which is not asked for: say who you are with --token");
        }
        let remote =
            Remote::new(&uri, arguments.ca_file.as_deref()).with_context(|| format!("--server: {url:?}"))?;
        let token = arguments.token.as_ref().filter(|token| !token.is_empty()).map(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| anyhow::anyhow!("--token holds characters that a header cannot"))?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        let token = token.transpose()?;
        if token.is_some() && remote.is_overheard() && !arguments.send_token_in_clear {
            bail!(
                "--server: {url:?} is not encrypted: whoever listens on the way could use the token; use https://, or say --send-token-in-clear"
            );
        }
        Ok(Self {
            remote,
            base: base(uri.path()).to_owned(),
            token,
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
            Err(_) => {
                let what = format!("the server at {} does not answer", self.remote.authority());
                Err(Unreachable(what).into())
            }
        }
    }

    async fn exchange(&self, method: Method, target: &str, body: Bytes) -> anyhow::Result<Reply> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{target}", self.base))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).context("the request cannot be written")?;
        let answer = self.remote.send(request, ANSWER_BYTES_MAX).await?;
        let next = answer.headers().get(LINK).and_then(next_target);
        content(Reply { status: answer.status(), body: answer.into_body(), next })
    }
}

/// What stands before the paths of the contract, as behind a proxy; a URL of the API itself is as good.
fn base(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    path.strip_suffix("/job-service/v1").unwrap_or(path)
}

fn next_target(link: &HeaderValue) -> Option<String> {
    let (target, rest) = link.to_str().ok()?.strip_prefix('<')?.split_once('>')?;
    rest.contains("rel=\"next\"").then(|| target.to_owned())
}

fn content(reply: Reply) -> anyhow::Result<Reply> {
    if reply.status.is_success() {
        let is_readable = reply.body.is_empty() || serde_json::from_slice::<IgnoredAny>(&reply.body).is_ok();
        return if is_readable { Ok(reply) } else { Err(anyhow::anyhow!(NOT_JSON)) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_the_api_is_as_good_as_that_of_its_server() {
        for (path, expected) in [
            ("/", ""),
            ("/job-service/v1", ""),
            ("/job-service/v1/", ""),
            ("/behind/a/proxy/", "/behind/a/proxy"),
            ("/proxy/job-service/v1", "/proxy"),
        ] {
            assert_eq!(base(path), expected, "{path}");
        }
    }
}
