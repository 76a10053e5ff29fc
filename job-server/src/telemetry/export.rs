//! Spans on their way to a collector: OTLP as Protobuf over HTTP.
//!
//! Nothing waits for the collector. Finished spans go into a bounded queue, from which a thread sends them in batches; when
//! the collector is away or slow the queue fills and further spans are dropped. The standard's own variables decide the
//! rest: `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*`, `OTEL_EXPORTER_OTLP_HEADERS`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use job_core::Shutdown;
use metrics::counter;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::collector::{Collector, CollectorUrl};
use super::spans;

/// How long one batch may take, repetitions included.
const EXPORT_TIME: Duration = Duration::from_secs(10);
/// How long a stopping server waits for its last spans to be taken.
const FLUSH_TIME: Duration = Duration::from_secs(3);

/// The way to a collector.
#[derive(Debug)]
pub(crate) struct Export {
    provider: SdkTracerProvider,
}

impl Export {
    /// Opens the way. Nothing is sent yet, so that a collector that is away is no failure.
    ///
    /// # Errors
    /// A sentence for the operator when TLS cannot be set up, or a variable of the standard makes no sense.
    pub(crate) fn start(url: &CollectorUrl) -> anyhow::Result<Self> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::start(url)?)
            .with_endpoint(url.traces())
            .with_timeout(EXPORT_TIME)
            .build()
            .context("--otlp-endpoint: spans cannot be exported")?;
        let mut resource = Resource::builder();
        // Only a default: what the standard's variables say goes first.
        if Resource::builder().build().get(&"service.name".into()).is_none_or(|name| is_unknown(&name)) {
            resource = resource.with_service_name("job-server");
        }
        let resource =
            resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let provider = SdkTracerProvider::builder()
            .with_id_generator(spans::Places)
            .with_resource(resource)
            .with_batch_exporter(Told { exporter, failing: AtomicBool::new(false) })
            .build();
        Ok(Self { provider })
    }

    /// What hands spans over.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let tracer = self.provider.tracer("job-server");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(filter_fn(is_exported).with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what is left, for a bounded time.
    pub(crate) async fn stop(self) {
        // It blocks, and the requests that it waits for are made here.
        let stopping =
            Shutdown::new().spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_TIME));
        if !matches!(stopping.await, Ok(Ok(()))) {
            tracing::warn!("the collector of traces did not take the last spans in time");
        }
    }
}

fn is_unknown(name: &opentelemetry::Value) -> bool {
    name.as_str().starts_with("unknown_service")
}

/// Spans only: what lines of the log say stays in the log. Of the drivers nothing, which would tell too much.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && (metadata.target() == spans::TARGET || metadata.target().starts_with("job_core::"))
}

/// Tells once when spans begin to be lost, and once when they are taken again.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    failing: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        let outcome = if result.is_ok() { "exported" } else { "lost" };
        counter!("job_service_spans_total", "outcome" => outcome).increment(spans);
        let was_failing = self.failing.swap(result.is_err(), Ordering::SeqCst);
        match &result {
            Err(error) if !was_failing => tracing::warn!(
                %error,
                "the collector of traces does not take our spans, which are lost until it does: does it speak OTLP over \
                 HTTP there, which usually has the port 4318?"
            ),
            Ok(()) if was_failing => tracing::info!("the collector of traces takes our spans again"),
            _ => {}
        }
        result
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
