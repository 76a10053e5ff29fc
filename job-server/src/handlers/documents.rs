//! What a person meets first.

use hyper::StatusCode;

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

pub(super) fn openapi() -> Answer {
    with_body(StatusCode::OK, "application/yaml", include_str!("../../openapi.yaml"))
}
