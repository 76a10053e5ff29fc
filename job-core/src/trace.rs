//! W3C trace context: which trace a request or a message belongs to.
//!
//! A job's trace is that of its correlation id, which is stored with it anyway: a UUID, with or without hyphens, is taken as
//! the trace id, and any other text stands for the beginning of its SHA-256. A request that names a trace and no
//! correlation id gives the job the trace id as its correlation id, so that the two always agree.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The header of HTTP requests and of queue messages.
pub const TRACEPARENT: &str = "traceparent";

/// A place in a trace: the header's content.
///
/// ```
/// use job_core::trace::TraceContext;
///
/// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let context: TraceContext = text.parse().expect("the example of the standard");
/// assert_eq!(context.to_string(), text);
/// assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    sampled: bool,
}

/// It is not a trace context; by the standard it is to be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a trace context: expected 00-TRACE-PARENT-FLAGS in lower-case hexadecimal digits")]
pub struct TraceContextError;

impl TraceContext {
    /// The trace of a job with this correlation id, at the place `span`.
    #[must_use]
    pub fn of_correlation(correlation_id: &str, span: Uuid) -> Self {
        let trace = Uuid::try_parse(correlation_id).ok().filter(|id| !id.is_nil()).map_or_else(
            || {
                let hash = Sha256::digest(correlation_id.as_bytes());
                u128::from_be_bytes(std::array::from_fn(|place| hash[place]))
            },
            |id| id.as_u128(),
        );
        Self { trace: trace.max(1), span: 1, sampled: true }.at(span)
    }

    /// The same trace, at another place.
    #[must_use]
    pub fn at(self, span: Uuid) -> Self {
        // The random half of the id; zero is not a place.
        Self { span: span.as_u64_pair().1.max(1), ..self }
    }

    /// The trace id and the place's own id, as numbers; neither is zero.
    #[must_use]
    pub fn ids(&self) -> (u128, u64) {
        (self.trace, self.span)
    }

    /// Whether whoever began the trace wants it to be kept.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace id: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = TraceContextError;

    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let mut parts = text.trim().split('-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).then_some(part)
        };
        let read = || {
            let version = u8::from_str_radix(part(2)?, 16).ok()?;
            let trace = u128::from_str_radix(part(32)?, 16).ok()?;
            let span = u64::from_str_radix(part(16)?, 16).ok()?;
            let flags = u8::from_str_radix(part(2)?, 16).ok()?;
            Some((version, trace, span, flags))
        };
        let mut read = read;
        let (version, trace, span, flags) = read().ok_or(TraceContextError)?;
        // Later versions may say more behind what this one knows.
        let is_known = version == 0 && parts.next().is_none() || (1..=0xfe).contains(&version);
        if !is_known || trace == 0 || span == 0 {
            return Err(TraceContextError);
        }
        Ok(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_a_context() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for right in [
            format!("00-{trace}-00f067aa0ba902b7-00"),
            format!("cc-{trace}-00f067aa0ba902b7-01-what-comes-later"),
        ] {
            assert_eq!(right.parse::<TraceContext>().unwrap().trace_id(), trace, "{right}");
        }
        for wrong in [
            String::new(),
            format!("00-{trace}-00f067aa0ba902b7"),
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-+{}-00f067aa0ba902b7-01", &trace[1..]),
        ] {
            assert_eq!(wrong.parse::<TraceContext>(), Err(TraceContextError), "{wrong}");
        }
    }

    #[test]
    fn a_job_has_the_trace_of_its_correlation_id() {
        let span = Uuid::from_u128(7);
        let trace = |id: &str| TraceContext::of_correlation(id, span).trace_id();
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace(id), id);
        assert_eq!(trace("4bf92f35-77b3-4da6-a3ce-929d0e0e4736"), id);
        assert_eq!(trace("order 7"), trace("order 7"));
        assert_ne!(trace("order 7"), trace("order 8"));
        let shown = TraceContext::of_correlation("order 7", span).to_string();
        assert!(shown.parse::<TraceContext>().is_ok() && shown.ends_with("-0000000000000007-01"), "{shown}");
    }
}
