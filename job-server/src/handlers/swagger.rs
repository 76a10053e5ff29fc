//! Swagger UI: the API's document as a page to read and to try. Everything it needs is in the binary.

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION};

use super::Call;
use super::static_file::StaticFile;
use crate::error::ApiError;
use crate::reply::{Answer, empty};

/// Nothing from elsewhere; the page sets styles of its own and draws small images from data URLs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

macro_rules! vendored {
    ($media_type:literal, $name:literal) => {
        StaticFile::new(
            $media_type,
            include_bytes!(concat!(env!("OUT_DIR"), "/swagger-", $name)),
            include_bytes!(concat!(env!("OUT_DIR"), "/swagger-", $name, ".gz")),
        )
    };
}

macro_rules! asset {
    ($media_type:literal, $name:literal) => {
        StaticFile::new(
            $media_type,
            include_bytes!(concat!("../../assets/", $name)),
            include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")),
        )
    };
}

static PAGE: StaticFile = asset!("text/html; charset=utf-8", "swagger.html");

static FILES: [(&str, StaticFile); 6] = [
    ("swagger-ui.css", vendored!("text/css; charset=utf-8", "swagger-ui.css")),
    ("swagger-ui-bundle.js", vendored!("text/javascript; charset=utf-8", "swagger-ui-bundle.js")),
    ("favicon-32x32.png", vendored!("image/png", "favicon-32x32.png")),
    ("LICENSE", vendored!("text/plain; charset=utf-8", "LICENSE")),
    ("NOTICE", vendored!("text/plain; charset=utf-8", "NOTICE")),
    ("opentext-config.js", asset!("text/javascript; charset=utf-8", "opentext-config.js")),
];

/// The page, behind the slash that the contract has it at.
pub(super) fn page(call: &Call) -> Answer {
    if call.uri.path().ends_with('/') {
        return sent(&PAGE, call);
    }
    let mut answer = empty(StatusCode::FOUND);
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/job-service-ui/"));
    answer
}

pub(super) fn file(call: &Call) -> Result<Answer, ApiError> {
    match FILES.iter().find(|(name, _)| *name == call.path.file) {
        Some((_, file)) => Ok(sent(file, call)),
        None if call.path.file == "index.html" => Ok(sent(&PAGE, call)),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "Swagger UI has no such file: it begins at /job-service-ui/",
        )),
    }
}

fn sent(file: &StaticFile, call: &Call) -> Answer {
    let mut answer = file.answer(&call.headers);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    answer
}
