//! The recorder of this process, which all its servers share.

use std::sync::OnceLock;
use std::time::Duration;

use job_core::{Clock, Shutdown, Stopwatch};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalogue::{Kind, METRICS};

/// In seconds: from a call to a memory store to one that is given up.
const DURATION_BUCKETS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
const BATCH_BUCKETS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1_000.0, 2_500.0, 5_000.0];
/// How often what was recorded is put into its buckets, so that it does not pile up when nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

struct Recorder {
    handle: PrometheusHandle,
    started: Stopwatch,
}

/// None when the program that embeds the server has a recorder of its own: then that one gets everything.
static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();

/// Starts to record, once per process.
pub(crate) fn start() {
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), DURATION_BUCKETS)
            .and_then(|builder| {
                builder.set_buckets_for_metric(Matcher::Suffix("_batch_deliveries".to_owned()), BATCH_BUCKETS)
            })
            .expect("the lists of buckets are not empty")
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok()?;
        describe();
        Some(Recorder { handle, started: Stopwatch::start() })
    });
}

fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
        match (metric.kind, metric.labels) {
            (Kind::Counter, [label]) => {
                label
                    .values
                    .iter()
                    .for_each(|value| counter!(metric.name, label.name => *value).increment(0));
            }
            (Kind::Counter, []) => counter!(metric.name).increment(0),
            // Registered, it shows empty buckets.
            (Kind::Histogram, []) => drop(histogram!(metric.name)),
            _ => {}
        }
    }
    gauge!("job_service_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("job_service_http_requests_in_flight").set(0.0);
}

/// Everything recorded so far; none when another recorder has it.
pub(crate) fn render() -> Option<String> {
    let recorder = RECORDER.get()?.as_ref()?;
    gauge!("job_service_uptime_seconds").set(recorder.started.elapsed().as_secs_f64());
    Some(recorder.handle.render())
}

/// Keeps what is recorded small until `shutdown` stops.
pub(crate) async fn keep_up(clock: std::sync::Arc<dyn Clock>, shutdown: Shutdown) {
    while !shutdown.is_stopping() {
        if let Some(Some(recorder)) = RECORDER.get() {
            recorder.handle.run_upkeep();
        }
        tokio::select! {
            () = shutdown.stopping() => {}
            () = clock.sleep(UPKEEP) => {}
        }
    }
}
