//! A handler that panics fails its own request and nothing else.

use hyper::StatusCode;
use tokio::task::JoinError;

use crate::error::ApiError;

/// What the client of a request is told whose task ended without an answer.
pub(crate) fn answer(error: JoinError) -> ApiError {
    let reason = match error.try_into_panic() {
        Ok(panic) => panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a value that is not a text".to_owned()),
        Err(_) => "the runtime is shutting down".to_owned(),
    };
    tracing::error!(panic = reason, "a handler panicked");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the server has a defect; its log has the details under this answer's CAF-Correlation-Id",
    )
}
