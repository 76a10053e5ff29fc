//! Trace context: in with a request, out with its answer, and on with the job's messages.

use futures::StreamExt as _;
use job_core::queue::{ConsumeOptions, TaskQueue as _};
use job_core::trace::TraceContext;
use job_core::{IdSource as _, RandomIds};

use crate::client::{request, soon};
use crate::server::{BODY, JSON, Server};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn trace_of(header: Option<&str>) -> String {
    header.unwrap().split('-').nth(1).unwrap().to_owned()
}

async fn create(server: &Server, id: &str, headers: &[&str]) -> crate::client::Answer {
    let headers = [&[JSON], headers].concat();
    request(server.address, "PUT", &Server::job_path(id), &headers, BODY.as_bytes()).await
}

#[tokio::test]
async fn a_trace_goes_on_with_the_jobs_message() {
    let server = Server::start().await;
    let mut consumer = server.queue.consume("w-in", ConsumeOptions { prefetch: 9 }).await.unwrap();
    let traceparent = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    let answer = create(&server, "j", &[&traceparent]).await;
    assert_eq!(answer.status, 201);
    assert_eq!(trace_of(answer.header("traceparent")), TRACE);
    assert_ne!(answer.header("traceparent").unwrap(), &traceparent["traceparent: ".len()..]);
    assert_eq!(answer.header("caf-correlation-id"), Some(TRACE));
    let delivery = soon(consumer.next()).await.unwrap();
    assert_eq!(trace_of(delivery.headers.get("traceparent").map(String::as_str)), TRACE);
    let body: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(body["correlationId"], TRACE);
    assert!(body.get("traceparent").is_none(), "strict readers know no such member");
    delivery.ack().await.unwrap();
}

#[tokio::test]
async fn without_a_trace_the_correlation_id_makes_one() {
    let server = Server::start().await;
    let mut consumer = server.queue.consume("w-in", ConsumeOptions { prefetch: 9 }).await.unwrap();
    let answer = create(&server, "j", &["CAF-Correlation-Id: order 7", "traceparent: nonsense"]).await;
    assert_eq!(answer.header("caf-correlation-id"), Some("order 7"));
    let delivery = soon(consumer.next()).await.unwrap();
    let sent_on = trace_of(delivery.headers.get("traceparent").map(String::as_str));
    let expected = TraceContext::of_correlation("order 7", RandomIds.next()).trace_id();
    assert_eq!(sent_on, expected);
    assert_eq!(answer.header("traceparent"), None, "nobody asked for it");
    delivery.ack().await.unwrap();
}
