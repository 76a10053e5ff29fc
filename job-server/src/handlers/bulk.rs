//! Actions on all selected jobs.

use hyper::StatusCode;
use job_core::query::StatusType;
use job_core::store::Action;
use serde_json::json;

use super::selection::selection;
use super::{Api, Call};
use crate::error::ApiError;
use crate::reply::{self, Answer};

pub(super) async fn cancel(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let partition = call.partition()?;
    let mut selection = selection(call, false, true)?;
    selection.status_type = StatusType::NotFinished;
    let cancelled = api.cancelling.act_on_selected(&partition, &selection, Action::Cancel).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "jobsCanceled": cancelled })))
}

pub(super) async fn delete(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let partition = call.partition()?;
    let selection = selection(call, false, true)?;
    let deleted = api.deleting.act_on_selected(&partition, &selection, Action::Delete).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "jobsDeleted": deleted })))
}
