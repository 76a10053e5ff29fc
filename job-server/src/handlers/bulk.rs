//! Actions on all selected jobs.

use hyper::StatusCode;
use job_core::query::StatusType;
use job_core::store::Action;
use serde_json::json;

use super::selection::selection;
use super::{Api, Call};
use crate::audit::JobsChanged;
use crate::error::ApiError;
use crate::reply::{self, Answer};

pub(super) async fn cancel(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let partition = call.partition()?;
    let mut selection = selection(call, false, true)?;
    selection.status_type = StatusType::NotFinished;
    let cancelled = api.service.act_on_selected(&partition, &selection, Action::Cancel).await?;
    Ok(counted(cancelled, &json!({ "jobsCanceled": cancelled })))
}

pub(super) async fn delete(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let partition = call.partition()?;
    let selection = selection(call, false, true)?;
    let deleted = api.service.act_on_selected(&partition, &selection, Action::Delete).await?;
    Ok(counted(deleted, &json!({ "jobsDeleted": deleted })))
}

fn counted(jobs: u64, body: &serde_json::Value) -> Answer {
    let mut answer = reply::json(StatusCode::OK, body);
    answer.extensions_mut().insert(JobsChanged(jobs));
    answer
}
