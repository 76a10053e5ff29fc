//! What every answer has in its head.

use std::io::Read as _;

use crate::client::{Connection, request};
use crate::server::Server;

#[tokio::test]
async fn every_answer_carries_a_correlation_id() {
    let server = Server::start().await;
    for (method, target) in [
        ("GET", "/job-service/v1/ping"),
        ("GET", "/nowhere"),
        ("POST", "/job-service/v1/ping"),
        ("GET", "/health-check"),
        ("GET", "/job-service/v1/partitions/p/jobs/nope"),
    ] {
        let answer = request(server.address, method, target, &["CAF-Correlation-Id: abc 1"], b"").await;
        assert_eq!(answer.header("caf-correlation-id"), Some("abc 1"), "{target}");
        let answer = request(server.address, method, target, &[], b"").await;
        assert_eq!(answer.header("caf-correlation-id").unwrap().len(), 36, "{target}");
    }
    for unfit in ["", "\u{e9}", &"x".repeat(256)] {
        let header = format!("CAF-Correlation-Id: {unfit}");
        let answer = request(server.address, "GET", "/job-service/v1/ping", &[&header], b"").await;
        assert_eq!(answer.header("caf-correlation-id").unwrap().len(), 36, "{unfit}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = Server::start().await;
    server.create("j").await;
    for target in
        ["/job-service/v1/ping", &Server::job_path("j"), &Server::job_path("j/status"), "/openapi.yaml"]
    {
        let get = server.get(target).await;
        let head = request(server.address, "HEAD", target, &[], b"").await;
        assert_eq!(head.status, 200, "{target}");
        assert_eq!(head.header("content-length").unwrap(), get.body.len().to_string(), "{target}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{target}");
    }
    let head = request(server.address, "HEAD", &Server::job_path("j/cancel"), &[], b"").await;
    assert_eq!((head.status, head.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn wrong_methods_name_the_right_ones() {
    let server = Server::start().await;
    for (method, target, allow) in [
        ("OPTIONS", Server::job_path("j"), "GET, PUT, DELETE, HEAD"),
        ("PATCH", Server::job_path("j"), "GET, PUT, DELETE, HEAD"),
        ("GET", Server::job_path("j/cancel"), "POST"),
        ("DELETE", "/job-service/v1/partitions/p/jobs".into(), "GET, HEAD"),
        ("GET", "/job-service/v1/partitions/p/jobs:cancel".into(), "POST"),
        ("FROB", "/job-service/v1/ping".into(), "GET, HEAD"),
    ] {
        let answer = request(server.address, method, &target, &[], b"").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {target}");
        assert!(answer.message().contains(allow));
    }
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask() {
    let server = Server::start().await;
    server.create("j").await;
    let plain = server.get_job("j").await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    let target = Server::job_path("j");
    let packed = request(server.address, "GET", &target, &["Accept-Encoding: br, gzip"], b"").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    let status = Server::job_path("j/status");
    let small = request(server.address, "GET", &status, &["Accept-Encoding: gzip"], b"").await;
    assert_eq!(small.header("content-encoding"), None);
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = Server::start().await;
    let mut connection = Connection::open(server.address).await;
    let one = "GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.send(one.repeat(3)).await;
    for _ in 0..3 {
        assert_eq!(connection.answer(false).await.unwrap().status, 200);
    }
    connection.send("GET /job-service/v1/ping HTTP/1.0\r\n\r\n").await;
    assert_eq!(connection.answer(false).await.unwrap().status, 200);
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_person_finds_the_way() {
    let server = Server::start().await;
    assert!(server.get("/").await.text().contains("/openapi.yaml"));
    let document = server.get("/openapi.yaml").await;
    assert_eq!(document.header("content-type"), Some("application/yaml"));
    assert!(document.text().starts_with("openapi: 3.1.0"));
}
