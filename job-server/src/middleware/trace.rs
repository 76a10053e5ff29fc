//! The W3C trace that a request belongs to.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use job_core::trace::{TRACEPARENT, TraceContext};
use job_core::{IdSource, RandomIds};

/// The header that carries it, both ways.
pub(crate) static HEADER: HeaderName = HeaderName::from_static(TRACEPARENT);

/// What the caller says; a header that is repeated or makes no sense is as good as none.
pub(crate) fn given(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(&HEADER).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()?.parse().ok()
}

/// This request's own place: in the trace that was given, or in that of its correlation id.
pub(crate) fn place(given: Option<TraceContext>, correlation_id: &str) -> TraceContext {
    let here = RandomIds.next();
    given.map_or_else(|| TraceContext::of_correlation(correlation_id, here), |given| given.at(here))
}

/// The place as a header.
pub(crate) fn header(place: TraceContext) -> HeaderValue {
    HeaderValue::from_str(&place.to_string()).expect("digits and hyphens are ASCII")
}
