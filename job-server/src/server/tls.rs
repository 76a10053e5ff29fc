//! HTTPS: certificates from PEM files, checked before anything starts, and replaced while connections go on.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context as _, bail};
use job_core::Timestamp;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, ServerConfig};
use x509_parser::parse_x509_certificate;

/// Where the certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and those that vouch for it, in that order, in PEM.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

/// What new connections are accepted with.
pub(crate) struct Tls {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence for the operator when clients could not trust what they say.
    pub(crate) fn open(files: TlsFiles, now: Timestamp) -> anyhow::Result<Self> {
        let config = read(&files, now)?;
        Ok(Self { files, config: RwLock::new(config) })
    }

    /// Reads the files anew for connections to come. When they are wrong, what was read before stays.
    pub(crate) fn reload(&self, now: Timestamp) {
        match read(&self.files, now) {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the certificate read before stays in use");
            }
        }
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

fn read(files: &TlsFiles, now: Timestamp) -> anyhow::Result<Arc<ServerConfig>> {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("the certificate {certificate} cannot be read as PEM"))?;
    if chain.is_empty() {
        bail!(
            "{certificate} holds no certificate: expected one in PEM, which begins with -----BEGIN CERTIFICATE-----"
        );
    }
    check(&chain, now).with_context(|| format!("the certificate {certificate} cannot be used"))?;
    let private = PrivateKeyDer::from_pem_file(&files.key)
        .with_context(|| format!("the key {key} cannot be read as PEM"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                anyhow::anyhow!("the key {key} does not belong to the certificate {certificate}")
            }
            error => {
                anyhow::anyhow!("the certificate {certificate} and the key {key} cannot be used: {error}")
            }
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether clients could trust the first certificate for the others: the times, and each vouched for by the next.
fn check(chain: &[CertificateDer<'_>], now: Timestamp) -> anyhow::Result<()> {
    let now = now.as_millis() / 1_000;
    let mut issuer = None;
    for (place, der) in chain.iter().enumerate() {
        let place = place + 1;
        let (_, certificate) = parse_x509_certificate(der)
            .map_err(|_| anyhow::anyhow!("certificate {place} in it is damaged"))?;
        let validity = certificate.validity();
        if now > validity.not_after.timestamp() {
            bail!("certificate {place} in it expired on {}", validity.not_after);
        }
        if now < validity.not_before.timestamp() {
            bail!("certificate {place} in it is good only from {} on", validity.not_before);
        }
        if issuer.is_some_and(|issuer: Vec<u8>| issuer != certificate.subject().as_raw()) {
            bail!("certificate {place} in it is not the issuer of the one before: put them in order");
        }
        issuer = Some(certificate.issuer().as_raw().to_vec());
    }
    Ok(())
}
