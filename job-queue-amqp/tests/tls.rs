//! With `amqps` the broker's certificate is verified: who signed it, and for which name.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::net::TcpListener;

use job_core::queue::TaskQueue;
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use testkit::RabbitOptions;

use broker::{Broker, put, within};

/// An authority, and the certificate and key of a broker called `localhost`.
fn certificates() -> [String; 3] {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    [authority_pem, certificate.pem(), key.serialize_pem()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_certificate_is_verified() {
    let directory = tempfile::tempdir().unwrap();
    let [authority, certificate, key] = certificates();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = RabbitOptions::default()
        .with_setting("listeners.ssl.1", &format!("127.0.0.1:{port}"))
        .with_setting("ssl_options.cacertfile", &file("authority.pem", &authority))
        .with_setting("ssl_options.certfile", &file("certificate.pem", &certificate))
        .with_setting("ssl_options.keyfile", &file("key.pem", &key));
    let broker = Broker::start_with(settings).await;
    let url = broker.url();
    let (credentials, _) = url.strip_prefix("amqp://").unwrap().split_once('@').unwrap();
    let options =
        |host: &str| AmqpOptions::from_uri(&format!("amqps://{credentials}@{host}:{port}")).unwrap();

    let queue = AmqpQueue::connect(options("localhost").with_ca_certificates(&authority)).await.unwrap();
    put(&queue, "q", "over TLS").await;
    queue.close().await;

    let [stranger, ..] = certificates();
    for (why, options) in [
        ("nobody known signed it", options("localhost")),
        ("somebody else is trusted", options("localhost").with_ca_certificates(stranger)),
        ("it has another name", options("127.0.0.1").with_ca_certificates(&authority)),
    ] {
        let error = within("a connect", AmqpQueue::connect(options)).await.unwrap_err();
        assert!(error.to_string().contains("certificate"), "{why}: {error}");
    }
}
