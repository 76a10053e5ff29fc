//! Where a status may be asked for.

use hyper::Uri;
use hyper::http::uri::Scheme;
use job_core::{Error, Result};

/// Scheme, host and port of a URL: the part that says whose service it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a URL that an operator named; a path behind it plays no part.
    pub(crate) fn named(text: &str) -> Result<Self> {
        text.parse().ok().as_ref().and_then(Self::of).ok_or_else(|| {
            Error::invalid(format!(
                "{:?} names no service: expected http://HOST[:PORT] or https://HOST[:PORT], without user and password",
                text.chars().take(200).collect::<String>()
            ))
        })
    }

    /// Whether it is asked over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The origin of a URL; none when it is not of HTTP or holds credentials.
    pub(crate) fn of(url: &Uri) -> Option<Self> {
        let scheme = url.scheme()?;
        let is_secure = *scheme == Scheme::HTTPS;
        if !is_secure && *scheme != Scheme::HTTP {
            return None;
        }
        let authority = url.authority()?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return None;
        }
        // A port that is there and is no number is not the usual one.
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => {
                if is_secure {
                    443
                } else {
                    80
                }
            }
            Some(_) => authority.port_u16()?,
        };
        Some(Self { is_secure, host: authority.host().to_ascii_lowercase(), port })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", if self.is_secure { "https" } else { "http" }, self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_equal_when_scheme_host_and_port_are() {
        let origin = |url: &str| Origin::named(url).unwrap();
        assert_eq!(origin("http://Jobs"), origin("http://jobs:80/job-service/v1?c=1"));
        assert_eq!(origin("https://jobs"), origin("https://jobs:443/"));
        assert_eq!(origin("http://[::1]:8080/x").to_string(), "http://[::1]:8080");
        for other in ["https://jobs", "http://jobs:8080", "http://jobs.example", "http://jobs:443"] {
            assert_ne!(origin("http://jobs"), origin(other), "{other}");
        }
    }

    #[test]
    fn what_is_not_a_service_over_http_is_refused() {
        for wrong in [
            "",
            "jobs",
            "jobs:8080",
            "//jobs",
            "/path",
            "file:///etc/passwd",
            "ftp://jobs",
            "http://",
            "http:///x",
            "http://user@jobs",
            "http://user:secret@jobs",
            "http://jobs:port",
            "http://jobs:",
            "http://jobs:99999",
            "http://a b",
            "gopher://jobs:70/x",
        ] {
            let error = Origin::named(wrong).unwrap_err();
            assert!(error.message().contains("names no service"), "{wrong}: {error}");
        }
    }
}
