//! Lengths of time as people type them: `30d`, `12h`, `1h 30m`.

use std::time::Duration;

/// None for what is not one, or is negative. A day has 24 hours.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let span: jiff::Span = text.parse().ok()?;
    Duration::try_from(span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_is_numbers_with_units() {
        for (text, seconds) in [("30d", 2_592_000), ("90m", 5_400), ("1h 30m", 5_400), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "d", "-1d", "1 month", "99999999999999999999d"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
