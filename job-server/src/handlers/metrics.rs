//! What Prometheus collects.

use hyper::StatusCode;

use super::Api;
use crate::error::ApiError;
use crate::reply::{Answer, with_body};
use crate::telemetry;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(api: &Api) -> Result<Answer, ApiError> {
    api.glance.refresh(&api.health).await;
    let text = telemetry::render().ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "this process does not keep its metrics here: the program around the server has a recorder of its own",
        )
    })?;
    Ok(with_body(StatusCode::OK, MEDIA_TYPE, text))
}
