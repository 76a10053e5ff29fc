//! What the answer of a status endpoint means (messaging contract §2.6).

use std::time::Duration;

use hyper::header::{CACHE_CONTROL, HeaderMap};
use job_core::JobStatus;

/// How long an answer holds that does not say so.
const VALID_DEFAULT: Duration = Duration::from_secs(120);

/// The status that a body names: its first line, with or without quotation marks.
pub(crate) fn status(body: &[u8]) -> Option<JobStatus> {
    let line = std::str::from_utf8(body).ok()?.lines().next()?.replace('"', "");
    JobStatus::ALL.into_iter().find(|status| status.as_str() == line)
}

/// How long there is no need to ask again.
///
/// The contract's `CacheableJobStatus` header is not asked for: a Java worker needs it to tell such answers from all the
/// others that its machine fetches, while nothing else is fetched here.
pub(crate) fn valid_for(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    directives
        .flat_map(|value| value.split(','))
        .find_map(|directive| {
            let (name, seconds) = directive.split_once('=')?;
            let seconds = seconds.trim().parse().ok()?;
            name.trim().eq_ignore_ascii_case("max-age").then(|| Duration::from_secs(seconds))
        })
        .unwrap_or(VALID_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_the_first_line_word_for_word() {
        for known in JobStatus::ALL {
            for body in [format!("\"{known}\""), known.to_string(), format!("\"{known}\"\r\nmore\n")] {
                assert_eq!(status(body.as_bytes()), Some(known), "{body:?}");
            }
        }
        for unknown in ["", "\n\"Active\"", "true", "active", " Active", "{\"status\":\"Active\"}", "null"] {
            assert_eq!(status(unknown.as_bytes()), None, "{unknown:?}");
        }
        assert_eq!(status(b"\xff"), None);
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says() {
        let of = |value: &str| {
            valid_for(&HeaderMap::from_iter([(CACHE_CONTROL, value.parse().unwrap())])).as_secs()
        };
        assert_eq!(of("max-age=5"), 5);
        assert_eq!(of("private, MAX-AGE=7, no-transform"), 7);
        assert_eq!(of("max-age=0"), 0);
        for without in ["no-cache", "s-maxage=9", "max-age=soon", "max-age=-1", "max-age"] {
            assert_eq!(of(without), 120, "{without}");
        }
        assert_eq!(valid_for(&HeaderMap::new()).as_secs(), 120);
    }
}
