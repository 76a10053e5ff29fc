//! The id that ties a request to its answer, its log lines and the messages of its job.

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use job_core::trace::TraceContext;
use job_core::{IdSource, RandomIds};

/// The header that carries it, both ways.
pub(crate) static HEADER: HeaderName = HeaderName::from_static("caf-correlation-id");

/// Longest id that is taken over from a client.
const LENGTH_MAX: usize = 255;

/// The client's id; or that of its trace; or a new one, when it gave none or one that could not travel in a header and a
/// log.
pub(crate) fn of(headers: &HeaderMap, trace: Option<TraceContext>) -> HeaderValue {
    let given = headers.get(&HEADER).filter(|value| {
        (1..=LENGTH_MAX).contains(&value.len())
            && value.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte))
    });
    given.cloned().unwrap_or_else(|| {
        let id = trace.map_or_else(|| RandomIds.next().to_string(), |trace| trace.trace_id());
        HeaderValue::from_str(&id).expect("hexadecimal digits are printable ASCII")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_printable_ids_are_taken_over() {
        let taken_over = |value: &[u8]| {
            of(&HeaderMap::from_iter([(HEADER.clone(), HeaderValue::from_bytes(value).unwrap())]), None)
        };
        assert_eq!(taken_over(b"abc-1"), "abc-1");
        for wrong in [&b""[..], &[b'x'; 256], b"\xff", b"a\tb"] {
            assert_eq!(taken_over(wrong).len(), 36);
        }
        assert_ne!(of(&HeaderMap::new(), None), of(&HeaderMap::new(), None));
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok();
        assert_eq!(of(&HeaderMap::new(), trace), "4bf92f3577b34da6a3ce929d0e0e4736");
    }
}
