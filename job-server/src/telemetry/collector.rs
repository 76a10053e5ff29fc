//! A collector of traces, and requests to it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Uri};
use job_core::{ClockExt as _, Shutdown, SystemClock};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::sync::{mpsc, oneshot};

use crate::exchange::Remote;

const ANSWER_TIME: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Where a collector is: the base to which the path of the signal is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorUrl {
    traces: String,
}

impl CollectorUrl {
    /// Where spans are sent.
    pub(super) fn traces(&self) -> &str {
        &self.traces
    }
}

impl FromStr for CollectorUrl {
    type Err = &'static str;

    /// Nothing of the text is in the error: it may hold a password.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected http[s]://HOST:PORT of a collector that takes OTLP over HTTP, such as http://localhost:4318";
        let uri: Uri = text.parse().map_err(|_| EXPECTED)?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EXPECTED);
        };
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(
                "user, password and query have no place in it: put a header that the collector asks for into \
                        OTEL_EXPORTER_OTLP_HEADERS",
            );
        }
        let path = uri.path().trim_end_matches('/');
        let path = path.strip_suffix("/v1/traces").unwrap_or(path);
        Ok(Self { traces: format!("{scheme}://{authority}{path}/v1/traces") })
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.traces)
    }
}

type Exchange = (Request<Bytes>, oneshot::Sender<Result<Response<Bytes>, HttpError>>);

/// Hands requests from the thread that exports to the runtime, where sockets are.
#[derive(Debug)]
pub(super) struct Collector {
    requests: mpsc::Sender<Exchange>,
}

impl Collector {
    /// Starts the task that sends; it ends when this is dropped.
    ///
    /// # Errors
    /// A sentence when the certificates of this machine cannot be read.
    pub(super) fn start(url: &CollectorUrl) -> anyhow::Result<Self> {
        let url: Uri = url.traces.parse().context("--otlp-endpoint")?;
        let remote = Remote::new(&url, None).context("--otlp-endpoint")?;
        let (requests, mut waiting) = mpsc::channel::<Exchange>(1);
        Shutdown::new().spawn(async move {
            let clock = SystemClock::new();
            while let Some((request, answer)) = waiting.recv().await {
                let exchange = clock.timeout(ANSWER_TIME, exchange(&remote, request)).await;
                let exchange = exchange.unwrap_or_else(|_| Err("it did not answer in time".into()));
                // Whoever asked may have given up.
                let _ = answer.send(exchange);
            }
        });
        Ok(Self { requests })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (answer, answered) = oneshot::channel();
        let gone = |_| HttpError::from("the server is stopping");
        self.requests.send((request, answer)).await.map_err(|_| gone(()))?;
        answered.await.map_err(|_| gone(()))?
    }
}

async fn exchange(remote: &Remote, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut request = request.map(Full::new);
    if let Some(target) = request.uri().path_and_query() {
        *request.uri_mut() = target.clone().into();
    }
    Ok(remote.send(request, ANSWER_BYTES_MAX).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_spans_is_appended_to_the_collectors_url() {
        for (text, traces) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            ("https://c.example/otlp/", "https://c.example/otlp/v1/traces"),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            assert_eq!(text.parse::<CollectorUrl>().unwrap().traces(), traces, "{text}");
        }
        for wrong in
            ["", "localhost:4318", "grpc://h:4317", "/v1/traces", "http://u:hunter2@h", "http://h?k=v"]
        {
            let sentence = wrong.parse::<CollectorUrl>().unwrap_err();
            assert!(!sentence.contains("hunter2"), "{wrong}");
        }
    }
}
