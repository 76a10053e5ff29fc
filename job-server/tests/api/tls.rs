//! HTTPS as clients and operators meet it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use job_server::{Config, TlsFiles};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};

use crate::client::{request, request_bytes, soon};
use crate::process::{command, said};
use crate::server::{BODY, JSON, Server};

/// A certificate for localhost and its key, in files.
#[derive(Debug)]
pub(crate) struct Pair {
    directory: TempDir,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let pair = Self { directory: tempfile::tempdir().unwrap() };
        pair.replace(|_| {});
        pair
    }

    /// Puts another certificate in place of the one that is there.
    fn replace(&self, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("certificate"), certificate.pem()).unwrap();
        std::fs::write(self.path("key"), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles { certificate: self.path("certificate"), key: self.path("key") }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path("certificate")).unwrap()
    }
}

pub(crate) async fn connect(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    soon(TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream)).await
}

async fn ping(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut read = vec![0; 15];
    soon(stream.read_exact(&mut read)).await.unwrap();
    let line = String::from_utf8(read).unwrap();
    // The rest of this answer, so that the connection can be used again.
    let mut rest = Vec::new();
    while !rest.ends_with(b"true}") {
        assert_ne!(soon(stream.read_buf(&mut rest)).await.unwrap(), 0, "the answer broke off");
    }
    line
}

async fn server(pair: &Pair) -> (Server, SocketAddr) {
    let config = Config { tls: Some(pair.files()), ..Config::default() };
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let https = server.https.unwrap();
    (server, https)
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_beside_http() {
    let pair = Pair::new();
    let (server, https) = server(&pair).await;
    for (version, named) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let mut stream = connect(https, pair.certificate(), &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(named));
        assert_eq!(ping(&mut stream).await, "HTTP/1.1 200 OK");
        assert_eq!(ping(&mut stream).await, "HTTP/1.1 200 OK", "the connection is kept");
    }
    assert_eq!(server.get("/job-service/v1/ping").await.status, 200);
    server.shutdown.stop();
    assert!(soon(server.running).await.unwrap());
}

#[tokio::test]
async fn a_job_is_located_where_it_was_put() {
    let pair = Pair::new();
    let (server, https) = server(&pair).await;
    let mut stream = connect(https, pair.certificate(), &[&TLS13]).await.unwrap();
    let path = Server::job_path("j");
    stream.write_all(&request_bytes(https, "PUT", &path, &[JSON], BODY.as_bytes())).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert!(answer.contains(&format!("location: https://{https}{path}\r\n")), "{answer}");
    let other = server.put("other", BODY).await;
    let expected = format!("http://{}{}", server.address, Server::job_path("other"));
    assert_eq!(other.header("location"), Some(expected.as_str()));
}

#[tokio::test]
async fn older_versions_and_other_protocols_are_not() {
    let pair = Pair::new();
    let (server, https) = server(&pair).await;
    // A ClientHello of TLS 1.0 and one of 1.1: no session, two cipher suites, no compression, no extensions.
    for minor in [1, 2] {
        let mut hello = vec![3, minor];
        hello.extend([7; 32]);
        hello.extend([0, 0, 4, 0xc0, 0x13, 0x00, 0x2f, 1, 0]);
        let length = u8::try_from(hello.len()).unwrap();
        let mut record = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
        record.extend(hello);
        let mut stream = TcpStream::connect(https).await.unwrap();
        stream.write_all(&record).await.unwrap();
        let mut answer = Vec::new();
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
        assert_eq!(answer.len(), 7, "and nothing else: {answer:?}");
    }
    let mut plain = TcpStream::connect(https).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(plain.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(server.get("/job-service/v1/ping").await.status, 200);
}

#[tokio::test]
async fn a_handshake_that_stalls_is_given_up() {
    let pair = Pair::new();
    let mut config = Config { tls: Some(pair.files()), ..Config::default() };
    config.limits.header_time = std::time::Duration::from_millis(100);
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let mut silent = TcpStream::connect(server.https.unwrap()).await.unwrap();
    silent.write_all(&[0x16, 3, 1]).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(silent.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "{answer:?}");
}

#[test]
fn files_that_clients_could_not_trust_stop_the_start() {
    let pair = Pair::new();
    let refused = |certificate: &Path, key: &Path| {
        let output = command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("JOB_SERVICE_TLS_CERTIFICATE", certificate)
            .env("JOB_SERVICE_TLS_KEY", key)
            .env("HTTPS_PORT", "0")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        said(&output)
    };
    let (certificate, key) = (pair.path("certificate"), pair.path("key"));
    let missing = refused(&pair.path("nowhere"), &key);
    assert!(missing.contains("nowhere cannot be read"), "{missing}");
    let swapped = refused(&key, &certificate);
    assert!(swapped.contains("holds no certificate"), "{swapped}");
    let no_key = refused(&certificate, &certificate);
    assert!(no_key.contains("the key"), "{no_key}");
    let other = Pair::new();
    let foreign = refused(&certificate, &other.path("key"));
    assert!(foreign.contains("does not belong to the certificate"), "{foreign}");
    pair.replace(|params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let expired = refused(&certificate, &key);
    assert!(expired.contains("expired on") && expired.contains("2020"), "{expired}");
    pair.replace(|params| params.not_before = date_time_ymd(2999, 1, 1));
    let early = refused(&certificate, &key);
    assert!(early.contains("good only from"), "{early}");
    let unordered =
        [&certificate, &other.path("certificate")].map(|path| std::fs::read_to_string(path).unwrap());
    pair.replace(|params| params.distinguished_name.push(rcgen::DnType::CommonName, "first"));
    std::fs::write(&certificate, std::fs::read_to_string(&certificate).unwrap() + &unordered[1]).unwrap();
    let unordered = refused(&certificate, &key);
    assert!(unordered.contains("is not the issuer"), "{unordered}");
}

#[test]
fn a_java_keystore_is_answered_with_what_to_set_instead() {
    let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    for name in ["SSL_KEYSTORE_PATH", "SSL_KEYSTORE", "SSL_KEYSTORE_PASSWORD", "SSL_CERT_ALIAS"] {
        serve.env(name, "hunter2");
    }
    let output = serve.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("JOB_SERVICE_TLS_CERTIFICATE") && !said(&output).contains("hunter2"),
        "{}",
        said(&output)
    );
}

/// A server in a process of its own, which can be sent signals.
struct Process {
    child: Child,
    http: SocketAddr,
    https: SocketAddr,
    // Read to the end of the process, so that it never finds its log closed.
    _log: BufReader<std::process::ChildStderr>,
}

impl Process {
    fn start(pair: &Pair) -> Self {
        let mut child = command(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--log-format",
            "json",
        ])
        .env("JOB_SERVICE_TLS_CERTIFICATE", pair.path("certificate"))
        .env("JOB_SERVICE_TLS_KEY", pair.path("key"))
        .env("JOB_SERVICE_HTTPS_LISTEN", "127.0.0.1:0")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut find = |scheme: &str| {
            loop {
                let mut line = String::new();
                assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
                if let Some((_, rest)) = line.split_once(&format!("the API is at {scheme}://")) {
                    break rest.split('/').next().unwrap().parse().unwrap();
                }
            }
        };
        let (http, https) = (find("http"), find("https"));
        Self { child, http, https, _log: log }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_hangup_brings_the_new_certificate_and_leaves_connections_alone() {
    let pair = Pair::new();
    let process = Process::start(&pair);
    let old = pair.certificate();
    let mut before = connect(process.https, old.clone(), &[&TLS13]).await.unwrap();
    assert_eq!(ping(&mut before).await, "HTTP/1.1 200 OK");
    pair.replace(|_| {});
    let hang_up = || {
        let id = process.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", "HUP", &id]).status().unwrap().success());
    };
    hang_up();
    // Until the signal has arrived; each try is bounded by `soon`.
    while connect(process.https, pair.certificate(), &[&TLS13]).await.is_err() {}
    assert!(connect(process.https, old, &[&TLS13]).await.is_err(), "the old one is not shown any more");
    assert_eq!(ping(&mut before).await, "HTTP/1.1 200 OK", "the old connection goes on");
    // A wrong one is not taken.
    let good = pair.certificate();
    std::fs::write(pair.path("certificate"), "nonsense").unwrap();
    hang_up();
    for _ in 0..20 {
        assert!(connect(process.https, good.clone(), &[&TLS13]).await.is_ok());
    }
    assert_eq!(request(process.http, "GET", "/job-service/v1/ping", &[], b"").await.status, 200);
}
