//! Spans of traces on their way to a collector, which may be away.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use job_core::trace::TraceContext;
use job_core::{IdSource as _, RandomIds, Shutdown, Stopwatch};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::client::{Answer, request, soon};
use crate::process::command;
use crate::server::{BODY, JSON, Server};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// Takes spans, and keeps every byte that it was sent.
struct Collector {
    address: SocketAddr,
    bodies: mpsc::UnboundedReceiver<Bytes>,
    seen: Vec<Bytes>,
    spans: Vec<Span>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, bodies) = mpsc::unbounded_channel();
        Shutdown::new().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let sender = sender.clone();
                    async move {
                        assert_eq!(request.uri().path(), "/v1/traces");
                        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
                        assert_eq!(request.headers()["x-key"], "canary-key");
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let _ = sender.send(body);
                        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                    }
                });
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                Shutdown::new().spawn(serving);
            }
        });
        Self { address, bodies, seen: vec![], spans: vec![] }
    }

    /// The span of that name in that trace, as soon as it arrives.
    async fn span(&mut self, name: &str, trace: &str) -> Span {
        loop {
            let wanted = |span: &&Span| span.name == name && hex(&span.trace_id) == trace;
            if let Some(span) = self.spans.iter().find(wanted) {
                return span.clone();
            }
            let body = soon(self.bodies.recv()).await.unwrap();
            self.take(body);
        }
    }

    fn take(&mut self, body: Bytes) {
        let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
        let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.spans.extend(scopes.flat_map(|scope| scope.spans));
        self.seen.push(body);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, key: &str) -> String {
    let value = span.attributes.iter().find(|attribute| attribute.key == key);
    format!("{:?}", value.unwrap_or_else(|| panic!("no {key} in {span:?}")).value)
}

struct Process {
    child: Child,
    address: SocketAddr,
    log: BufReader<ChildStderr>,
}

impl Process {
    fn start(collector: SocketAddr) -> Self {
        let mut child = command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"))
            .envs([("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=canary-key")])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
            if let Some((_, rest)) = line.split_once("the API is at http://") {
                break rest.split('/').next().unwrap().parse().unwrap();
            }
        };
        Self { child, address, log }
    }

    /// Ends it in order; gives back what it had logged, and how long it took.
    fn stop(mut self) -> (String, Duration) {
        let watch = Stopwatch::start();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{log}");
        (log, watch.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn create(address: SocketAddr, id: &str, headers: &[&str], body: &str) -> Answer {
    let headers = [&[JSON], headers].concat();
    let answer = request(address, "PUT", &Server::job_path(id), &headers, body.as_bytes()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_take_their_places_in_the_trace_of_the_caller_and_of_the_job() {
    let mut collector = Collector::start().await;
    let process = Process::start(collector.address);
    let answer = create(process.address, "j", &[&format!("traceparent: 00-{TRACE}-{CALLER}-01")], BODY).await;
    let request = collector.span("createOrUpdateJob", TRACE).await;
    assert_eq!(hex(&request.parent_span_id), CALLER);
    let place = format!("00-{TRACE}-{}-01", hex(&request.span_id));
    assert_eq!(answer.header("traceparent"), Some(place.as_str()), "the answer names the span");
    assert!(attribute(&request, "http.response.status_code").contains("201"));
    let message = collector.span("publish", TRACE).await;
    assert!(attribute(&message, "messaging.destination.name").contains("w-in"));
    // A trace that nobody began is that of the correlation id, and its request has nobody above it.
    create(process.address, "k", &["CAF-Correlation-Id: order 7"], BODY).await;
    let of_order = TraceContext::of_correlation("order 7", RandomIds.next()).trace_id();
    assert!(collector.span("createOrUpdateJob", &of_order).await.parent_span_id.is_empty());
    collector.span("publish", &of_order).await;
    // Whoever began a trace may not want it to be kept.
    let unwanted = TRACE.replace('4', "5");
    create(process.address, "l", &[&format!("traceparent: 00-{unwanted}-{CALLER}-00")], BODY).await;
    let wanted = TRACE.replace('4', "6");
    create(process.address, "m", &[&format!("traceparent: 00-{wanted}-{CALLER}-01")], BODY).await;
    collector.span("createOrUpdateJob", &wanted).await;
    let requests = collector.spans.iter().filter(|span| span.name == "createOrUpdateJob");
    assert!(requests.clone().all(|span| hex(&span.trace_id) != unwanted), "{requests:?}");
    assert!(collector.spans.iter().any(|span| span.name == "dispatch"));
    // What nobody did is not told: no look into an empty outbox, no health check.
    assert!(collector.spans.iter().all(|span| span.name != "claim" && span.name != "ping"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_is_sent_at_the_end_and_nothing_of_it_is_secret() {
    let mut collector = Collector::start().await;
    let process = Process::start(collector.address);
    let body =
        BODY.replace("\"data\"", "\"canary-data\"").replacen('{', r#"{"labels":{"k":"canary-label"},"#, 1);
    create(process.address, "j", &["Authorization: Bearer jobsvc_00000000_canary-token"], &body).await;
    let job = Server::job_path("j");
    for target in [
        format!("{job}/status?c=canary-proof"),
        format!("{}?filter=name==canary-filter", job.strip_suffix("/j").unwrap()),
        format!("{}?filter=canary-filter", job.strip_suffix("/j").unwrap()),
        "/nowhere?canary-query".to_owned(),
    ] {
        request(process.address, "GET", &target, &[], b"").await;
    }
    let (log, _) = process.stop();
    assert!(!log.contains("canary") && !log.contains("otel."), "{log}");
    for operation in ["getJobStatus", "getJobs", "none"] {
        let is_there = |span: &Span| span.name == operation;
        while !collector.spans.iter().any(is_there) {
            let body = soon(collector.bodies.recv()).await.unwrap();
            collector.take(body);
        }
    }
    while let Ok(body) = collector.bodies.try_recv() {
        collector.take(body);
    }
    for body in &collector.seen {
        assert!(!String::from_utf8_lossy(body).contains("canary"), "{body:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_told_of_once_and_holds_up_nothing() {
    // Free again at once, so that nothing listens there.
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let process = Process::start(nowhere);
    for id in 0..20 {
        create(process.address, &format!("j{id}"), &[], BODY).await;
    }
    let (log, took) = process.stop();
    assert_eq!(log.matches("does not take our spans").count(), 1, "{log}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_never_answers_holds_up_nothing() {
    // The kernel takes the connection and nobody ever reads from it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let process = Process::start(silent.local_addr().unwrap());
    let watch = Stopwatch::start();
    for id in 0..20 {
        create(process.address, &format!("j{id}"), &[], BODY).await;
    }
    assert!(watch.elapsed() < Duration::from_secs(10), "{:?}", watch.elapsed());
    let (log, took) = process.stop();
    assert!(log.contains("did not take the last spans in time"), "{log}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}

#[test]
fn a_wrong_address_of_a_collector_stops_the_start_and_is_not_repeated() {
    for url in ["grpc://h:4317", "http://u:hunter2@h:4318"] {
        let output = command(&["serve", "--listen", "127.0.0.1:0", "--otlp-endpoint", url]).output().unwrap();
        let said = crate::process::said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("--otlp-endpoint") && !said.contains("hunter2"), "{said}");
    }
}
