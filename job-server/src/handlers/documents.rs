//! What a person meets first.

use hyper::StatusCode;

use super::Call;
use super::static_file::StaticFile;
use crate::reply::{Answer, with_body};

pub(super) fn root() -> Answer {
    with_body(
        StatusCode::OK,
        "text/plain; charset=utf-8",
        concat!(
            "Job Service ",
            env!("CARGO_PKG_VERSION"),
            "\n\nAPI           /job-service/v1/\ndescription   /openapi.yaml\nto try it     /job-service-ui/\nhealth        /health-check?name=all\n"
        ),
    )
}

macro_rules! openapi {
    ($media_type:literal) => {
        StaticFile::new(
            $media_type,
            include_bytes!("../../openapi.yaml"),
            include_bytes!(concat!(env!("OUT_DIR"), "/openapi.yaml.gz")),
        )
    };
}

static OPENAPI: StaticFile = openapi!("application/yaml");
/// As the service that this one follows called it.
static SWAGGER: StaticFile = openapi!("text/x-yaml");

pub(super) fn openapi(call: &Call) -> Answer {
    OPENAPI.answer(&call.headers)
}

/// Where the service that this one follows had its document.
pub(super) fn swagger(call: &Call) -> Answer {
    SWAGGER.answer(&call.headers)
}
