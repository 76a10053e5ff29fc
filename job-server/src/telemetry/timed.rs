//! How long a call of a backend took, and whether it failed.

use job_core::{ErrorKind, Result, Stopwatch};
use metrics::{counter, histogram};
use tracing::Instrument as _;

use super::spans;

/// One backend: what spans call it, and its metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    pub(super) backend: &'static str,
    pub(super) durations: &'static str,
    pub(super) errors: &'static str,
}

/// Runs a call.
pub(super) async fn timed<T>(
    names: Names,
    call: &'static str,
    future: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    let watch = Stopwatch::start();
    let span = spans::call(names.backend, call);
    let result = future.instrument(span.clone()).await;
    histogram!(names.durations, "call" => call).record(watch.elapsed());
    if let Err(error) = &result {
        let kind = label(error.kind());
        spans::failed(&span, kind);
        counter!(names.errors, "call" => call, "kind" => kind).increment(1);
    }
    result
}

fn label(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NotFound => "not_found",
        ErrorKind::AlreadyExists => "already_exists",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Invalid => "invalid",
        ErrorKind::IllegalTransition => "illegal_transition",
        ErrorKind::LimitReached => "limit_reached",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Corrupt => "corrupt",
        _ => "internal",
    }
}
