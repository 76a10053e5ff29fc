//! Swagger UI: the API's document as a page to read and to try. Everything it needs is in the binary.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue};

use super::Call;
use crate::error::ApiError;
use crate::reply::{Answer, with_body};

/// Nothing from elsewhere; the page sets styles of its own and draws small images from data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! vendored {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/swagger-", $name))
    };
}

/// Name, media type and content.
static FILES: &[(&str, &str, &[u8])] = &[
    ("swagger-ui.css", "text/css; charset=utf-8", vendored!("swagger-ui.css")),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8", vendored!("swagger-ui-bundle.js")),
    ("favicon-32x32.png", "image/png", vendored!("favicon-32x32.png")),
    ("LICENSE", "text/plain; charset=utf-8", vendored!("LICENSE")),
    ("NOTICE", "text/plain; charset=utf-8", vendored!("NOTICE")),
    ("initializer.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/initializer.js")),
    ("index.html", "text/html; charset=utf-8", include_bytes!("../../assets/swagger.html")),
];

pub(super) fn page() -> Result<Answer, ApiError> {
    named("index.html")
}

pub(super) fn file(call: &Call) -> Result<Answer, ApiError> {
    named(&call.path.file)
}

/// Where the service that this one follows had its document.
pub(super) fn document() -> Answer {
    with_body(StatusCode::OK, "text/x-yaml", include_str!("../../openapi.yaml"))
}

fn named(name: &str) -> Result<Answer, ApiError> {
    let (_, media_type, content) = FILES.iter().find(|(known, ..)| *known == name).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, "Swagger UI has no such file: it begins at /job-service-ui/")
    })?;
    let mut answer = with_body(StatusCode::OK, media_type, *content);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(answer)
}
