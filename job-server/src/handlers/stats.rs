//! Counting jobs.

use hyper::StatusCode;
use job_core::JobStatus;

use super::selection::selection;
use super::{Api, Call};
use crate::error::ApiError;
use crate::reply::{Answer, json};

pub(super) async fn count(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let counts = api.service.count(&call.partition()?, &selection(call, true, false)?).await?;
    Ok(json(StatusCode::OK, &counts.values().sum::<u64>()))
}

pub(super) async fn by_status(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let mut counts = api.service.count(&call.partition()?, &selection(call, true, true)?).await?;
    for status in JobStatus::ALL {
        counts.entry(status).or_default();
    }
    Ok(json(StatusCode::OK, &counts))
}
