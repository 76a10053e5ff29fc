//! Suspending partitions, and resuming them.

use hyper::StatusCode;
use job_core::PartitionId;
use serde_json::json;

use super::selection::{next_link, page_limit};
use super::{Api, Call};
use crate::error::ApiError;
use crate::reply::{self, Answer, empty};

pub(super) async fn suspended(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let after = call.query.get("after").filter(|text| !text.is_empty());
    let after = after
        .map(|text| PartitionId::new(text).map_err(|error| ApiError::bad_request(format!("after: {error}"))))
        .transpose()?;
    let limit = page_limit(api, call)?;
    // One more than asked for tells whether there is a next page.
    let mut partitions = api.service.suspended_partitions(after.as_ref(), limit + 1).await?;
    let more = partitions.len() > limit as usize;
    partitions.truncate(limit as usize);
    let models: Vec<_> =
        partitions.iter().map(|partition| json!({ "partitionId": partition.as_str() })).collect();
    let mut answer = reply::json(StatusCode::OK, &models);
    if let Some(last) = partitions.last().filter(|_| more) {
        next_link(call, last.as_str(), &mut answer);
    }
    Ok(answer)
}

pub(super) async fn suspend(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    api.service.suspend_partition(&call.partition()?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn resume(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    api.service.resume_partition(&call.partition()?).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
