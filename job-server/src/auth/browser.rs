//! What keeps web pages of others away from a server that asks nobody who they are.
//!
//! A browser on this machine reaches loopback, and runs the scripts of whatever page is open in it. Programs that are not
//! browsers send none of the headers looked at here, but for Host.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{StatusCode, Uri};

use crate::error::ApiError;
use crate::query_string::excerpt;

static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a name that only a manipulated name server leads here by. No such name is an IP address, and no browser sends
/// none at all: both may be let pass.
pub(super) fn check_host(headers: &HeaderMap, takes_addresses: bool) -> Result<(), ApiError> {
    let host = text(headers, &HOST);
    let is_address =
        || !headers.contains_key(HOST) || host.parse().as_ref().is_ok_and(|host| ip(host).is_some());
    if host.parse().as_ref().is_ok_and(is_loopback) || (takes_addresses && is_address()) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        format!(
            "Host is {:?}: this address answers only to names of this machine, such as localhost or 127.0.0.1, and a \
             proxy before it has to send one of those (with --tokens the API answers to any name)",
            excerpt(host)
        ),
    ))
}

fn is_loopback(authority: &Authority) -> bool {
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || ip(authority).is_some_and(|ip| ip.is_loopback())
}

fn ip(authority: &Authority) -> Option<IpAddr> {
    let host = authority.host();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Refuses what a page of another site asks for.
pub(super) fn check_origin(headers: &HeaderMap) -> Result<(), ApiError> {
    let refuse = |why| {
        Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!(
                "{why}: without tokens, pages of other sites get no answer; start the server with --tokens"
            ),
        ))
    };
    if text(headers, &FETCH_SITE).eq_ignore_ascii_case("cross-site") {
        return refuse("Sec-Fetch-Site is cross-site");
    }
    let origin = text(headers, &ORIGIN);
    let own = origin.parse::<Uri>().ok().and_then(|origin| {
        let (origin, host) = (origin.into_parts().authority?, text(headers, &HOST));
        Some(origin.as_str().eq_ignore_ascii_case(host))
    });
    if origin.is_empty() || own == Some(true) { Ok(()) } else { refuse("Origin is not this server") }
}

/// A header that is no text is treated as one that is wrong.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for right in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:80",
            "jobs.localhost",
            "localhost.",
        ] {
            for takes_addresses in [false, true] {
                assert!(check_host(&headers(&[("host", right)]), takes_addresses).is_ok(), "{right}");
            }
        }
        for wrong in
            ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost", "", "a b"]
        {
            for takes_addresses in [false, true] {
                assert!(check_host(&headers(&[("host", wrong)]), takes_addresses).is_err(), "{wrong}");
            }
        }
        for address in ["10.0.0.1", "10.0.0.1:80", "[::2]"].map(|host| headers(&[("host", host)])) {
            assert!(
                check_host(&address, true).is_ok() && check_host(&address, false).is_err(),
                "{address:?}"
            );
        }
        assert!(check_host(&HeaderMap::new(), true).is_ok() && check_host(&HeaderMap::new(), false).is_err());
    }

    #[test]
    fn only_our_own_pages_may_ask() {
        let right: &[&[(&str, &str)]] = &[
            &[],
            &[("origin", "http://localhost:8080")],
            &[("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ];
        let wrong: &[&[(&str, &str)]] = &[
            &[("origin", "http://evil.example")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "null")],
            &[("origin", "x")],
            &[("sec-fetch-site", "cross-site")],
            &[("origin", "http://localhost:8080"), ("sec-fetch-site", "cross-site")],
        ];
        for (cases, allowed) in [(right, true), (wrong, false)] {
            for case in cases {
                let mut headers: HeaderMap = HeaderMap::new();
                headers.insert(HOST, "localhost:8080".parse().unwrap());
                for (name, value) in *case {
                    headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
                }
                assert_eq!(check_origin(&headers).is_ok(), allowed, "{case:?}");
            }
        }
    }
}
