//! Every metric, with its meaning: what `/metrics` describes, what `docs/operations.md` lists, and what the dashboard and
//! the alert rules are held to.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) labels: &'static [Label],
    pub(crate) help: &'static str,
}

/// One label, and its values where they are few and known: those are there, at zero, from the start.
#[derive(Debug)]
pub(crate) struct Label {
    pub(crate) name: &'static str,
    pub(crate) values: &'static [&'static str],
}

macro_rules! metrics {
    ($($kind:ident $name:literal { $($label:ident $([$($value:literal)*])?)* } $help:literal)*) => {
        &[$(Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$(Label { name: stringify!($label), values: &[$($($value),*)?] }),*],
            help: $help,
        }),*]
    };
}

/// All of them.
pub(crate) static METRICS: &[Metric] = metrics! {
    Gauge "job_service_build_info" { version } "Always 1; the label says which version runs."
    Gauge "job_service_uptime_seconds" {} "Since the process started."
    Gauge "process_resident_memory_bytes" {} "Memory of the process, on Linux."

    Counter "job_service_http_requests_total" { operation status } "Requests answered, by operation of the OpenAPI document and status."
    Histogram "job_service_http_request_duration_seconds" { operation } "From the head of a request to its answer, long polls included."
    Gauge "job_service_http_requests_in_flight" {} "Requests being worked on."

    Gauge "job_service_jobs" { status ["active" "cancelled" "completed" "failed" "paused" "waiting"] } "Jobs of all partitions in the store."
    Counter "job_service_jobs_finished_total" { status ["completed" "failed"] } "Jobs that this process' tracker saw complete or fail."
    Counter "job_service_creates_refused_total" { reason ["live_jobs"] } "Jobs that were not created because their partition has all it may have."
    Gauge "job_service_outbox_due_messages" {} "Messages that are due and not yet confirmed by the queue, counted up to 100,000."
    Gauge "job_service_outbox_failing_messages" {} "Of those, the ones that were tried in vain."
    Gauge "job_service_outbox_oldest_due_age_seconds" {} "How long the oldest of them has been due."
    Counter "job_service_dispatched_messages_total" { outcome ["published" "unroutable" "refused"] } "Messages that the dispatcher gave to the queue, by what became of them."
    Counter "job_service_stowed_messages_total" { outcome ["stowed" "dropped" "refused"] } "Messages of paused jobs that the stower took off their queue: kept, of jobs that are gone or finished, set aside on the error queue."

    Gauge "job_service_tracker_queue_messages" {} "Reports that wait on the tracking queue: how far the tracker is behind."
    Counter "job_service_tracker_deliveries_total" { outcome ["acked" "handed_back"] } "Deliveries that the tracker settled."
    Counter "job_service_tracker_reports_total" { outcome ["counted" "duplicate" "unknown_job" "finished_job" "damaged_job"] } "Reports recorded, by what they did."
    Counter "job_service_tracker_refused_total" { reason ["unreadable" "malformed" "store"] } "Messages and reports set aside."
    Histogram "job_service_tracker_batch_deliveries" {} "Deliveries in a batch."
    Histogram "job_service_tracker_batch_duration_seconds" {} "From a gathered batch to its settled deliveries."

    Histogram "job_service_store_call_duration_seconds" { call } "Calls of the store."
    Counter "job_service_store_call_errors_total" { call kind } "Calls of the store that failed."
    Gauge "job_service_store_connections" { state ["used" "idle"] } "Connections to the database that are open."
    Gauge "job_service_store_connections_max" {} "The most that may be open."
    Histogram "job_service_queue_call_duration_seconds" { call } "Calls of the queue; publishing lasts until all is confirmed."
    Counter "job_service_queue_call_errors_total" { call kind } "Calls of the queue that failed."
    Counter "job_service_spans_total" { outcome ["exported" "lost"] } "Spans of traces that were sent to the collector, if there is one."
    Gauge "job_service_check_healthy" { check ["deadlocks" "ports-alive" "ports-ready" "database" "ping" "queue"] } "The checks behind /health-check: 1 when well."
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;
    use crate::generated_docs::hold;

    #[test]
    fn the_metrics_are_documented() {
        let mut table = String::from("| metric | labels | meaning |\n| --- | --- | --- |\n");
        for Metric { name, kind, labels, help } in METRICS {
            let labels: Vec<String> = labels
                .iter()
                .map(|label| match label.values {
                    [] => format!("`{}`", label.name),
                    values => format!("`{}` ({})", label.name, values.join(", ")),
                })
                .collect();
            let kind = format!("{kind:?}").to_lowercase();
            let _ = writeln!(table, "| `{name}` | {} | {kind}. {help} |", labels.join(", "));
        }
        hold("docs/operations.md", "metrics", &table);
    }

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        for metric in METRICS {
            let name = metric.name;
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
            assert!(name.starts_with("job_service_") || name.starts_with("process_"), "{name}");
        }
    }

    const DASHBOARD: &str = include_str!("../../../ops/grafana/job-service.json");
    const ALERTS: &str = include_str!("../../../ops/prometheus/alerts.yaml");

    /// The names of metrics in a text, without what Prometheus appends to those of histograms.
    fn names_in(text: &str) -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours = words.filter(|word| word.starts_with("job_service_") || word.starts_with("process_"));
        let histograms = METRICS.iter().filter(|metric| metric.kind == Kind::Histogram);
        let histograms: Vec<&str> = histograms.map(|metric| metric.name).collect();
        ours.map(|word| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| word.strip_suffix(suffix));
            base.filter(|base| histograms.contains(base)).unwrap_or(word).to_owned()
        })
        .collect()
    }

    #[test]
    fn the_dashboard_and_the_alerts_use_exactly_the_metrics_that_exist() {
        let exist: BTreeSet<String> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
        let (dashboard, alerts) = (names_in(DASHBOARD), names_in(ALERTS));
        assert_eq!(dashboard.union(&alerts).cloned().collect::<BTreeSet<_>>(), exist);
        assert!(dashboard.len() > 10 && alerts.len() > 5);
        assert!(serde_json::from_str::<serde_json::Value>(DASHBOARD).unwrap()["panels"].is_array());
    }

    #[test]
    fn every_alert_is_explained() {
        let rules: serde_json::Value = serde_saphyr::from_str(ALERTS).unwrap();
        let rules = rules["groups"][0]["rules"].as_array().unwrap();
        let alerts: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
        let operations = include_str!("../../../docs/operations.md");
        let explained: BTreeSet<&str> = operations
            .lines()
            .filter_map(|line| line.strip_prefix("| JobService").map(|_| line.split(' ').nth(1).unwrap()))
            .collect();
        assert_eq!(explained, alerts);
    }
}
