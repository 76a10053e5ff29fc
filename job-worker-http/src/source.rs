//! The question itself.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use job_core::worker::{StatusAnswer, StatusQuestion, StatusSource};
use job_core::{Clock, ClockExt as _, Error, Result};
use tokio_rustls::rustls;

use crate::answer;
use crate::origin::Origin;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// How long a whole question may take.
const LIMIT: Duration = Duration::from_secs(3);
/// The longest answer that is read; a status has a dozen bytes.
const BODY_BYTES_MAX: usize = 4 << 10;
/// How long an unused connection is kept: a little longer than the usual interval between two questions.
const IDLE_LIMIT: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_MAX: usize = 4;

/// A [`StatusSource`] that fetches the status of a job from the URL in its messages.
///
/// It only asks services it was told, over `http` or `https` with verified certificates, follows no redirects, and takes
/// at most two seconds to connect, three in all and four KiB of answer. Whatever does not fit is an error: the runner
/// goes by the last known status for one interval and then takes the job for active, an interval at a time, as workers
/// of the CAF framework do.
#[derive(Debug)]
pub struct HttpStatus {
    origins: Vec<Origin>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    clock: Arc<dyn Clock>,
}

impl HttpStatus {
    /// Asks only services whose scheme, host and port are those of one of these URLs, such as
    /// `http://job-service:8080` or the whole `CAF_WEBSERVICE_URL` of the server.
    ///
    /// # Errors
    /// When there is none, one of them is not of the form `http[s]://HOST[:PORT]`, or the certificates of the machine
    /// cannot be read.
    pub fn asking(
        services: impl IntoIterator<Item = impl AsRef<str>>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let origins: Vec<Origin> =
            services.into_iter().map(|url| Origin::named(url.as_ref())).collect::<Result<_>>()?;
        if origins.is_empty() {
            return Err(Error::invalid(
                "no service is named that may be asked for the status of jobs: name at least one, such as \
                 http://job-service:8080",
            ));
        }
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let builder = HttpsConnectorBuilder::new();
        let builder = if origins.iter().any(Origin::is_secure) {
            builder.with_native_roots().map_err(|error| {
                Error::invalid(format!("the certificates of this machine cannot be read: {error}"))
            })?
        } else {
            // No https URL is allowed, and a small image may hold no certificates at all.
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let tls = rustls::ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .map_err(|error| Error::invalid(format!("TLS cannot be set up: {error}")))?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder.with_tls_config(tls)
        };
        let connector = builder.https_or_http().enable_http1().wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        Ok(Self { origins, client, clock })
    }

    /// The URL and its origin, if that is one of those that may be asked. What is behind the origin is never shown: it
    /// may hold a capability.
    fn allowed(&self, url: &str) -> Result<(Uri, Origin)> {
        let uri: Option<Uri> = url.parse().ok();
        let Some((uri, origin)) = uri.and_then(|uri| Origin::of(&uri).map(|origin| (uri, origin))) else {
            return Err(Error::invalid(
                "tracking.statusCheckUrl is not a URL of the form http[s]://HOST[:PORT]/PATH without user and password",
            ));
        };
        if !self.origins.contains(&origin) {
            return Err(Error::invalid(format!(
                "tracking.statusCheckUrl leads to {origin}, which is not one of the services that this worker may ask"
            )));
        }
        Ok((uri, origin))
    }

    async fn fetch(&self, uri: Uri) -> Result<StatusAnswer, String> {
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/json, text/plain")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        // Before the answer was made, so that it does not look younger than it is.
        let as_of = self.clock.now();
        let response = self.client.request(request).await.map_err(|error| innermost(&error))?;
        let (head, body) = response.into_parts();
        let valid_for = answer::valid_for(&head.headers);
        match head.status {
            StatusCode::NOT_FOUND => return Ok(StatusAnswer { status: None, as_of, valid_for }),
            status if status.is_redirection() => {
                return Err(format!("it answered {status}, and redirects are not followed"));
            }
            status if !status.is_success() => return Err(format!("it answered {status}")),
            _ => {}
        }
        let body = Limited::new(body, BODY_BYTES_MAX)
            .collect()
            .await
            .map_err(|error| format!("its answer cannot be read to its end: {error}"))?
            .to_bytes();
        match answer::status(&body) {
            Some(status) => Ok(StatusAnswer { status: Some(status), as_of, valid_for }),
            None => Err("its answer is not a status".to_owned()),
        }
    }
}

#[async_trait]
impl StatusSource for HttpStatus {
    async fn ask(&self, question: StatusQuestion<'_>) -> Result<Option<StatusAnswer>> {
        let Some(url) = question.url else { return Ok(None) };
        let (uri, origin) = self.allowed(url)?;
        let fetched = self.clock.timeout(LIMIT, self.fetch(uri)).await;
        match fetched.unwrap_or_else(|_| Err(format!("no answer came within {LIMIT:?}"))) {
            Ok(answer) => Ok(Some(answer)),
            Err(reason) => Err(Error::unavailable(format!("{origin} was asked for a status: {reason}"))),
        }
    }
}

/// The outer errors of the client say only that there is an inner one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
