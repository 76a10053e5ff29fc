//! What Prometheus collects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use job_core::queue::{ConsumeOptions, Publication, TaskQueue as _};
use job_core::{Clock as _, SystemClock};
use job_queue_memory::MemoryQueue;
use job_server::Config;
use job_store_memory::MemoryStore;

use crate::client::{request, soon};
use crate::hooked_store::Hooks;
use crate::server::Server;

/// The samples, by name with labels.
async fn collect(server: &Server) -> BTreeMap<String, f64> {
    let answer = request(server.admin, "GET", "/metrics", &[], b"").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let samples = answer.text().lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// Collects until `sample` has at least this value.
async fn until(server: &Server, sample: &str, value: f64) -> BTreeMap<String, f64> {
    soon(async {
        loop {
            let samples = collect(server).await;
            if samples.get(sample).is_some_and(|found| *found >= value) {
                return samples;
            }
            SystemClock::new().sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

fn documented() -> BTreeSet<String> {
    let text = include_str!("../../../docs/operations.md");
    let (_, table) = text.split_once("<!-- metrics -->").unwrap();
    let (table, _) = table.split_once("<!-- end of metrics -->").unwrap();
    table.lines().filter_map(|line| line.split('`').nth(1)).map(str::to_owned).collect()
}

async fn publish(queue: &MemoryQueue, body: impl Into<bytes::Bytes>) {
    queue.publish(vec![Publication::new("jobtracking-in", body)]).await.unwrap();
}

#[tokio::test]
async fn what_happens_is_counted_and_every_metric_is_documented() {
    let server = Server::start().await;
    server.create("j").await;
    // A worker that reports once well and twice badly.
    let mut consumer = server.queue.consume("w-in", ConsumeOptions { prefetch: 1 }).await.unwrap();
    let delivery = soon(consumer.next()).await.unwrap();
    let mut message: serde_json::Value = serde_json::from_slice(&delivery.body).unwrap();
    delivery.ack().await.unwrap();
    message["taskClassifier"] = "TrackingReportTask".into();
    message["to"] = "jobtracking-in".into();
    message["tracking"] = serde_json::Value::Null;
    let report = |entry: serde_json::Value| {
        use base64::Engine as _;
        let payload = serde_json::json!({ "trackingReports": [entry] }).to_string();
        let mut message = message.clone();
        message["taskData"] = base64::engine::general_purpose::STANDARD.encode(payload).into();
        message.to_string()
    };
    publish(&server.queue, report(serde_json::json!({"jobTaskId": "p:j", "status": "Complete"}))).await;
    publish(&server.queue, report(serde_json::json!({"jobTaskId": "p:nobody", "status": "Complete"}))).await;
    publish(&server.queue, report(serde_json::json!({"jobTaskId": "", "status": "Complete"}))).await;
    publish(&server.queue, "not a message").await;
    until(&server, "job_service_tracker_refused_total{reason=\"unreadable\"}", 1.0).await;
    until(&server, "job_service_jobs_finished_total{status=\"completed\"}", 1.0).await;
    assert_eq!(server.get_job("nobody").await.status, 404);
    let samples = until(&server, "job_service_jobs{status=\"completed\"}", 1.0).await;
    for (sample, expected) in [
        ("job_service_tracker_reports_total{outcome=\"counted\"}", 1.0),
        ("job_service_tracker_reports_total{outcome=\"unknown_job\"}", 1.0),
        ("job_service_tracker_refused_total{reason=\"malformed\"}", 1.0),
        ("job_service_dispatched_messages_total{outcome=\"published\"}", 1.0),
        ("job_service_http_requests_total{operation=\"createOrUpdateJob\",status=\"201\"}", 1.0),
        ("job_service_http_requests_total{operation=\"getJob\",status=\"404\"}", 1.0),
        ("job_service_tracker_deliveries_total{outcome=\"acked\"}", 4.0),
        ("job_service_check_healthy{check=\"database\"}", 1.0),
        ("job_service_outbox_due_messages", 0.0),
        ("job_service_jobs{status=\"waiting\"}", 0.0),
    ] {
        assert_eq!(samples.get(sample), Some(&expected), "{sample}: {samples:#?}");
    }
    let base = |sample: &String| {
        let name = sample.split('{').next().unwrap();
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        histogram.filter(|name| documented().contains(*name)).unwrap_or(name).to_owned()
    };
    let found: BTreeSet<String> = samples.keys().map(base).collect();
    let unseen: Vec<_> = documented().difference(&found).cloned().collect();
    assert_eq!(found.difference(&documented()).next(), None, "a metric is not documented");
    // Nothing failed here.
    assert_eq!(unseen, ["job_service_queue_call_errors_total", "job_service_store_call_errors_total"]);
}

#[tokio::test]
async fn a_store_that_is_down_leaves_no_old_figures_behind() {
    let store = Hooks::store();
    store.ping_error.store(true, Ordering::SeqCst);
    let server = Server::with(Config::default(), store).await;
    let samples = until(&server, "job_service_check_healthy{check=\"queue\"}", 1.0).await;
    assert!(samples["job_service_jobs{status=\"waiting\"}"].is_nan(), "{samples:#?}");
    assert_eq!(samples["job_service_check_healthy{check=\"database\"}"], 0.0);
    let errors = "job_service_store_call_errors_total{call=\"overview\",kind=\"unavailable\"}";
    assert_eq!(samples[errors], 1.0);
}

#[tokio::test]
async fn the_api_shows_nobody_the_figures_of_all_partitions() {
    let server = Server::with(Config::default(), Arc::new(MemoryStore::new())).await;
    assert_eq!(server.get("/metrics").await.status, 404);
}
