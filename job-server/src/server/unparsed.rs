//! Requests whose head makes no sense. The HTTP library answers them by itself, without a word about the cause; that answer is
//! kept back here, and ours goes out in its place.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::bare_answer::bare_answer;
use crate::limits::Limits;
use crate::middleware::correlation;

/// A stream that takes the library's own answers and does not send them.
#[derive(Debug)]
pub(super) struct KeepsBack<S>(pub(super) S);

/// Every answer of ours carries a correlation id.
fn is_the_librarys(bytes: &[u8]) -> bool {
    let mark = correlation::HEADER.as_str().as_bytes();
    bytes.starts_with(b"HTTP/1.")
        && bytes.get(8..10) == Some(b" 4")
        && !bytes.windows(mark.len()).any(|window| window.eq_ignore_ascii_case(mark))
}

impl<S: AsyncRead + Unpin> AsyncRead for KeepsBack<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for KeepsBack<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if is_the_librarys(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices
            && is_the_librarys(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What whoever sent such a request is told. The library has no other name for what was wrong than the text of its error.
pub(super) fn answer(error: &hyper::Error, limits: &Limits) -> Vec<u8> {
    const BAD: &str = "400 Bad Request";
    let Limits { headers_max, header_bytes_max, url_bytes_max, .. } = limits;
    let (status, message) = match error.to_string().as_str() {
        "invalid URI" => (
            BAD,
            "the URL is not one: a space, a control character, or one of \" < > in it has to be percent-encoded, as in %22 \
             %3C %3E"
                .to_owned(),
        ),
        "invalid HTTP method parsed" => {
            (BAD, "the request is not HTTP: expected a method, a path and HTTP/1.1 in its first line".to_owned())
        }
        "invalid HTTP version parsed" => (
            BAD,
            "the first line of the request is wrong: expected a method, a path without spaces, and HTTP/1.1 or HTTP/1.0"
                .to_owned(),
        ),
        "invalid HTTP version parsed (found HTTP2 preface)" => {
            ("505 HTTP Version Not Supported", "HTTP/2 is not spoken here: expected HTTP/1.1".to_owned())
        }
        "invalid content-length parsed" => {
            (BAD, "Content-Length is wrong: expected one number, the bytes of the body".to_owned())
        }
        "invalid transfer-encoding parsed" | "unexpected transfer-encoding parsed" => {
            (BAD, "Transfer-Encoding is not understood here: expected chunked, or a Content-Length".to_owned())
        }
        "URI too long" => (
            "414 URI Too Long",
            format!("the URL is far too long: at most {url_bytes_max} bytes are allowed"),
        ),
        "message head is too large" => (
            "431 Request Header Fields Too Large",
            format!(
                "the head of the request is far too large: at most {headers_max} headers, {header_bytes_max} bytes of \
                 headers and {url_bytes_max} of a URL are allowed"
            ),
        ),
        _ => (
            BAD,
            "a header of the request is not understood: expected NAME: VALUE in each line, without a space before the \
             colon or control characters"
                .to_owned(),
        ),
    };
    bare_answer(status, &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_answers_are_told_from_the_librarys() {
        for (bytes, kept_back) in [
            ("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n", true),
            ("HTTP/1.0 431 x\r\ncontent-length: 0\r\n\r\n", true),
            ("HTTP/1.1 400 Bad Request\r\nCAF-Correlation-Id: 1\r\n\r\n", false),
            ("HTTP/1.1 404 Not Found\r\ncaf-correlation-id: 1\r\n\r\n{}", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.1 100 Continue\r\n\r\n", false),
            ("{\"a\": 400}", false),
            ("", false),
        ] {
            assert_eq!(is_the_librarys(bytes.as_bytes()), kept_back, "{bytes}");
        }
    }
}
