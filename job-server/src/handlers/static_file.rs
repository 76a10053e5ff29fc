//! Files that never change while the process lives: in the binary, compressed once, and sent only to those who do not have
//! them yet.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::{StatusCode, header};
use sha2::{Digest as _, Sha256};

use crate::middleware::compression;
use crate::reply::{Answer, empty, with_body};

/// A file, as it is and compressed.
#[derive(Debug)]
pub(super) struct StaticFile {
    media_type: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
    tag: OnceLock<HeaderValue>,
}

impl StaticFile {
    pub(super) const fn new(media_type: &'static str, plain: &'static [u8], gzip: &'static [u8]) -> Self {
        Self { media_type, plain, gzip, tag: OnceLock::new() }
    }

    /// The file, or that the client's copy is still good (RFC 9110 §13.1.2). Every use asks, since the next release may
    /// have another file at the same place.
    pub(super) fn answer(&self, asked: &HeaderMap) -> Answer {
        let tag = self.tag();
        let is_known = asked.get_all(IF_NONE_MATCH).iter().any(|known| names(known, tag));
        let mut answer = if is_known {
            empty(StatusCode::NOT_MODIFIED)
        } else if self.gzip.len() < self.plain.len() && compression::accepts_gzip(asked) {
            let mut answer = with_body(StatusCode::OK, self.media_type, self.gzip);
            answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            answer
        } else {
            with_body(StatusCode::OK, self.media_type, self.plain)
        };
        let headers = answer.headers_mut();
        headers.insert(ETAG, tag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from(header::ACCEPT_ENCODING));
        answer
    }

    /// Weak: both forms of the file have the same.
    fn tag(&self) -> &HeaderValue {
        self.tag.get_or_init(|| {
            let digest = URL_SAFE_NO_PAD.encode(&Sha256::digest(self.plain)[..12]);
            HeaderValue::from_str(&format!("W/\"{digest}\"")).expect("base64 is printable ASCII")
        })
    }
}

/// Whether a list of tags has `tag`; whether a tag is called weak makes no difference (RFC 9110 §8.8.3.2).
fn names(list: &HeaderValue, tag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(list), Ok(tag)) = (list.to_str(), tag.to_str()) else { return false };
    list.split(',').any(|known| known.trim() == "*" || opaque(known) == opaque(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_file_is_sent_once_and_then_known() {
        let file = StaticFile::new("text/plain", b"aaaaaaaa", b"gz");
        let plain = file.answer(&HeaderMap::new());
        assert_eq!((plain.status(), &plain.body()[..]), (StatusCode::OK, &b"aaaaaaaa"[..]));
        let gzip = file.answer(&ask(header::ACCEPT_ENCODING, "gzip"));
        assert_eq!(
            (&gzip.headers()[CONTENT_ENCODING], &gzip.body()[..]),
            (&"gzip".parse().unwrap(), &b"gz"[..])
        );
        let tag = plain.headers()[ETAG].to_str().unwrap();
        assert_eq!(gzip.headers()[ETAG], tag);
        for known in [tag, &format!("\"x\", {tag}"), tag.trim_start_matches("W/"), "*"] {
            let again = file.answer(&ask(IF_NONE_MATCH, known));
            assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0), "{known}");
            assert_eq!(again.headers()[ETAG], tag);
        }
        for other in ["\"x\"", "", "W/"] {
            assert_eq!(file.answer(&ask(IF_NONE_MATCH, other)).status(), StatusCode::OK, "{other}");
        }
    }

    #[test]
    fn what_compression_makes_larger_goes_out_as_it_is() {
        let file = StaticFile::new("image/png", b"a", b"larger");
        assert_eq!(&file.answer(&ask(header::ACCEPT_ENCODING, "gzip")).body()[..], b"a");
    }
}
