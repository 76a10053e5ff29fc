//! What is told of one request, call or message to a collector of traces, if there is one.
//!
//! These spans are apart from those of the log lines: no line shows them, and without a collector they cost nothing. Where
//! a place in a trace is fixed, since a header carries it, the span takes exactly that place.

use std::cell::Cell;

use job_core::queue::{Publication, PublishOutcome};
use job_core::trace::{TRACEPARENT, TraceContext};
use job_core::{IdSource as _, RandomIds};
use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::IdGenerator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

/// Their target, which the filter of the log turns off.
pub(crate) const TARGET: &str = "spans";

thread_local! {
    /// Where the span that is being started has to be.
    static PLACE: Cell<Option<TraceContext>> = const { Cell::new(None) };
}

/// Gives a span the place it has to have, or a random one.
#[derive(Debug)]
pub(super) struct Places;

impl IdGenerator for Places {
    fn new_trace_id(&self) -> TraceId {
        let place = PLACE.get().map(|place| place.ids().0);
        TraceId::from(place.unwrap_or_else(|| RandomIds.next().as_u128()))
    }

    fn new_span_id(&self) -> SpanId {
        let place = PLACE.get().map(|place| place.ids().1);
        SpanId::from(place.unwrap_or_else(|| RandomIds.next().as_u64_pair().1))
    }
}

/// Starts a span at `place`, below the `parent` that somebody else has told of.
fn start(span: &Span, place: TraceContext, parent: Option<TraceContext>) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = parent {
        let (trace, id) = parent.ids();
        let flags = TraceFlags::default().with_sampled(parent.is_sampled());
        let parent = SpanContext::new(TraceId::from(trace), SpanId::from(id), flags, true, TraceState::NONE);
        // Without a collector there is nobody to tell.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
    PLACE.set(Some(place));
    // It asks for its ids when it is first asked for its context, and not before.
    let _ = span.context();
    PLACE.set(None);
}

/// A request at `place`, of a caller who may be part of a trace.
pub(crate) fn request(
    operation: &'static str,
    method: &str,
    path: &str,
    correlation_id: &str,
    place: TraceContext,
    caller: Option<TraceContext>,
) -> Span {
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "request",
        otel.name = operation,
        otel.kind = "server",
        http.request.method = method,
        url.path = path,
        correlation_id,
        http.response.status_code = tracing::field::Empty,
    );
    start(&span, place, caller);
    span
}

/// The request is answered.
pub(crate) fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// A call of a backend for whatever is being done. One that is made for itself, as by a health check, is not worth telling.
pub(super) fn call(backend: &'static str, call: &'static str) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    tracing::debug_span!(target: TARGET, "call", otel.name = call, otel.kind = "client", peer.service = backend)
}

/// What became of a call.
pub(super) fn failed(span: &Span, kind: &'static str) {
    span.set_status(Status::error(kind));
}

/// The first message of a job, at the place that its header names. Of other messages nothing: theirs is somebody else's
/// place.
pub(super) fn message(publication: &Publication) -> Span {
    let place = || {
        let place: TraceContext = publication.headers.get(TRACEPARENT)?.parse().ok()?;
        let own: Uuid = publication.message_id.as_ref()?.parse().ok()?;
        (place.at(own) == place).then_some(place)
    };
    let Some(place) = place() else { return Span::none() };
    let span = tracing::debug_span!(
        target: TARGET,
        parent: None,
        "message",
        otel.name = "publish",
        otel.kind = "producer",
        messaging.destination.name = publication.queue,
        messaging.message.id = publication.message_id,
    );
    start(&span, place, None);
    span
}

/// What became of a message.
pub(super) fn published(span: &Span, outcome: &PublishOutcome) {
    match outcome {
        PublishOutcome::Confirmed => {}
        PublishOutcome::Unroutable => failed(span, "unroutable"),
        PublishOutcome::Refused { .. } => failed(span, "refused"),
    }
}
