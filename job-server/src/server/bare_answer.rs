//! Answers for clients that no request of theirs was read from.

use job_core::{IdSource as _, RandomIds};

/// A complete answer that ends its connection, with `message` as the contract's JSON.
pub(super) fn bare_answer(status: &str, message: &str) -> Vec<u8> {
    let body = serde_json::json!({ "message": message }).to_string();
    let retry = if status.starts_with("503") { "Retry-After: 1\r\n" } else { "" };
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCAF-Correlation-Id: {}\r\n\
         {retry}Connection: close\r\n\r\n{body}",
        body.len(),
        RandomIds.next()
    )
    .into_bytes()
}
