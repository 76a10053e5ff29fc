//! One HTTP request to a server and its answer, over a connection of its own, encrypted or not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::HOST;
use hyper::http::uri::{Authority, Scheme};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use job_core::{Clock, ClockExt as _, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The server did not answer: another attempt may go better.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreachable(pub(crate) String);

/// Where requests go.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    authority: Authority,
    port: u16,
    tls: Option<Tls>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Remote {
    /// The server of an `http` or `https` URL. Its certificate has to be vouched for by one in `trusted`, a file in PEM, or
    /// without it by one that this machine trusts.
    ///
    /// # Errors
    /// A sentence for whoever gave the URL or the file.
    pub(crate) fn new(url: &Uri, trusted: Option<&Path>) -> anyhow::Result<Self> {
        let authority = url.authority().context("it names no host: expected http[s]://HOST[:PORT]")?;
        let (port, tls) = match url.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => (80, None),
            Some(scheme) if *scheme == Scheme::HTTPS => {
                let host = bare(authority.host()).to_owned();
                let name = ServerName::try_from(host)
                    .context("its host is not a name that a certificate can have")?;
                (443, Some(Tls { connector: connector(trusted)?, name }))
            }
            _ => bail!("it is not understood: expected http[s]://HOST[:PORT]"),
        };
        let port = authority.port_u16().unwrap_or(port);
        Ok(Self { authority: authority.clone(), port, tls, clock: Arc::new(SystemClock::new()) })
    }

    /// Host and port, for people.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    /// Whether somebody between this machine and the server could read what is sent.
    pub(crate) fn is_overheard(&self) -> bool {
        let host = bare(self.authority.host());
        let is_here = host.parse::<std::net::IpAddr>().map_or_else(
            |_| host.eq_ignore_ascii_case("localhost"),
            |address| address.to_canonical().is_loopback(),
        );
        self.tls.is_none() && !is_here
    }

    /// Sends `request` and reads an answer of at most `bytes_max`.
    ///
    /// # Errors
    /// [`Unreachable`], whatever is in the way, but for a certificate that is not trusted, which stays so.
    pub(crate) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> anyhow::Result<Response<Bytes>> {
        if let Ok(host) = self.authority.as_str().parse() {
            request.headers_mut().insert(HOST, host);
        }
        let stream = self.connect().await?;
        match &self.tls {
            None => self.exchange(stream, request, bytes_max).await,
            Some(Tls { connector, name }) => {
                let shaking = connector.connect(name.clone(), stream);
                let shaken =
                    self.clock.timeout(CONNECT_TIME, shaking).await.map_err(|_| self.unreachable(""))?;
                let stream = shaken.map_err(|error| {
                    if error.get_ref().is_some_and(|inner| inner.is::<tokio_rustls::rustls::Error>()) {
                        anyhow::anyhow!("the server at {} cannot be trusted: {error}", self.authority)
                    } else {
                        self.unreachable(&format!(": {error}")).into()
                    }
                })?;
                self.exchange(stream, request, bytes_max).await
            }
        }
    }

    async fn connect(&self) -> Result<TcpStream, Unreachable> {
        let connecting = TcpStream::connect((bare(self.authority.host()), self.port));
        match self.clock.timeout(CONNECT_TIME, connecting).await {
            Ok(connected) => connected.map_err(|error| self.unreachable(&format!(": {error}"))),
            Err(_) => Err(self.unreachable("")),
        }
    }

    fn unreachable(&self, why: &str) -> Unreachable {
        Unreachable(format!("the server at {} cannot be reached{why}", self.authority))
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
        bytes_max: usize,
    ) -> anyhow::Result<Response<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let broken = |error: &dyn std::fmt::Display| {
            Unreachable(format!("the server at {} broke off: {error}", self.authority))
        };
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| broken(&error))?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, bytes_max).collect().await.map_err(|error| broken(&error))?;
            // The sender is dropped here, which lets the connection end.
            anyhow::Ok(Response::from_parts(head, body.to_bytes()))
        };
        let (answer, _) = tokio::join!(exchange, connection);
        answer
    }
}

/// An address of version 6 without the brackets it has in a URL.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn connector(trusted: Option<&Path>) -> anyhow::Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = trusted {
        let unreadable = || format!("--ca-file: {} cannot be read as certificates in PEM", file.display());
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_file_iter(file).and_then(Iterator::collect).with_context(unreadable)?;
        ensure!(!certificates.is_empty(), "--ca-file: {} holds no certificate in PEM", file.display());
        for certificate in certificates {
            roots.add(certificate).with_context(unreadable)?;
        }
    } else {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        ensure!(
            !roots.is_empty(),
            "this machine has no certificates of authorities to trust (the client takes one with --ca-file FILE)"
        );
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leaves_this_machine_in_clear_is_overheard() {
        for (url, overheard) in [
            ("http://127.0.0.1:8080", false),
            ("http://[::1]:8080", false),
            ("http://LOCALHOST", false),
            ("http://jobs.example", true),
            ("http://localhost.example:8080", true),
            ("http://10.0.0.1", true),
        ] {
            assert_eq!(Remote::new(&url.parse().unwrap(), None).unwrap().is_overheard(), overheard, "{url}");
        }
    }
}
