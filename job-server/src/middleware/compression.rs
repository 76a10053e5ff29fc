//! Bodies that travel compressed, both ways.

use std::io::{Read, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, VARY,
};

use crate::error::ApiError;
use crate::reply::Answer;

/// Smaller answers are sent as they are.
const ANSWER_BYTES_MIN: usize = 256;

/// Whether the client takes gzip (RFC 9110 §12.5.3).
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let coding = parts.next().unwrap_or_default();
            let refused = parts
                .filter_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .any(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0));
            if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
                return !refused;
            }
            any |= coding == "*" && !refused;
        }
    }
    any
}

/// Whether `answer` is worth compressing.
pub(crate) fn is_worthwhile(answer: &Answer) -> bool {
    let headers = answer.headers();
    let no_transform = headers
        .get(CACHE_CONTROL)
        .is_some_and(|value| value.as_bytes().windows(12).any(|window| window == b"no-transform"));
    answer.body().len() >= ANSWER_BYTES_MIN
        && headers.contains_key(CONTENT_TYPE)
        && !headers.contains_key(CONTENT_ENCODING)
        && !no_transform
}

/// The same answer, compressed.
pub(crate) fn gzip(answer: Answer) -> Answer {
    let (mut head, body) = answer.into_parts();
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
    let written = encoder.write_all(&body).and_then(|()| encoder.finish());
    let body = match written {
        Ok(compressed) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            compressed.into()
        }
        // Writing to memory does not fail; if it ever does, the plain body is as good.
        Err(_) => body,
    };
    Answer::from_parts(head, body)
}

/// Says to caches that the body depends on what the client accepts.
pub(crate) fn mark_as_varying(answer: &mut Answer) {
    answer.headers_mut().entry(VARY).or_insert(HeaderValue::from_static("Accept-Encoding"));
}

/// How a request's body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// It is not.
    Identity,
    Gzip,
    Deflate,
}

/// Reads the `Content-Encoding` of a request.
pub(crate) fn coding(headers: &HeaderMap) -> Result<Coding, ApiError> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(CONTENT_ENCODING) {
        for name in value.to_str().unwrap_or("?").split(',').map(str::trim) {
            let named = match name.to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                _ => return Err(unsupported("Content-Encoding is unknown")),
            };
            if coding != Coding::Identity {
                return Err(unsupported("Content-Encoding names more than one coding"));
            }
            coding = named;
        }
    }
    Ok(coding)
}

fn unsupported(what: &str) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("{what}: expected gzip, deflate or none"))
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"))
}

/// Undoes `coding`; at most `bytes_max` bytes come out.
pub(crate) fn decompress(body: &Bytes, coding: Coding, bytes_max: usize) -> Result<Bytes, ApiError> {
    match coding {
        Coding::Identity => Ok(body.clone()),
        Coding::Gzip => read_bounded(MultiGzDecoder::new(&body[..]), bytes_max),
        // The name stands for zlib's format, but servers and clients have always taken the bare one as well.
        Coding::Deflate if has_zlib_header(body) => read_bounded(ZlibDecoder::new(&body[..]), bytes_max),
        Coding::Deflate => read_bounded(DeflateDecoder::new(&body[..]), bytes_max),
    }
}

fn has_zlib_header(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..]
        if method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31))
}

fn read_bounded(decoder: impl Read, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    match decoder.take(limit).read_to_end(&mut body) {
        Ok(_) if body.len() > bytes_max => Err(too_large(bytes_max)),
        Ok(_) => Ok(body.into()),
        Err(error) => {
            Err(ApiError::bad_request(format!("the body is not what its Content-Encoding says: {error}")))
        }
    }
}

/// The body is over the limit.
pub(crate) fn too_large(bytes_max: usize) -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body is too large: at most {bytes_max} bytes are allowed"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &str) -> bool {
        accepts_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap())]))
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_take_it() {
        for yes in ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "x-gzip"] {
            assert!(accepting(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "*;q=0", "*, gzip;q=0"] {
            assert!(!accepting(no), "{no}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b' '; 10 << 20]).unwrap();
        let bomb = Bytes::from(encoder.finish().unwrap());
        let error = decompress(&bomb, Coding::Gzip, 1 << 20).unwrap_err();
        assert_eq!(error.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(decompress(&bomb, Coding::Gzip, 10 << 20).unwrap().len(), 10 << 20);
        assert!(decompress(&Bytes::from_static(b"{}"), Coding::Gzip, 10).is_err());
    }

    #[test]
    fn both_forms_of_deflate_are_read() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"{\"a\":1}").unwrap();
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(b"{\"a\":1}").unwrap();
        for body in [zlib.finish().unwrap(), bare.finish().unwrap()] {
            assert_eq!(decompress(&body.into(), Coding::Deflate, 100).unwrap(), "{\"a\":1}");
        }
    }
}
