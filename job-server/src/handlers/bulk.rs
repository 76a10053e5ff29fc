//! Actions on all selected jobs.

use hyper::StatusCode;
use job_core::PartitionId;
use job_core::query::{Selection, StatusType};
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
    let cancelled = act(api, call, &partition, &selection, Action::Cancel).await?;
    Ok(counted(cancelled, &json!({ "jobsCanceled": cancelled })))
}

pub(super) async fn delete(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let partition = call.partition()?;
    let selection = selection(call, false, true)?;
    let deleted = act(api, call, &partition, &selection, Action::Delete).await?;
    Ok(counted(deleted, &json!({ "jobsDeleted": deleted })))
}

async fn act(
    api: &Api,
    call: &Call,
    partition: &PartitionId,
    selection: &Selection,
    action: Action,
) -> Result<u64, ApiError> {
    let stepped = || call.stepped.notify_one();
    Ok(api.service.act_on_selected_in_steps(partition, selection, action, stepped).await?)
}

fn counted(jobs: u64, body: &serde_json::Value) -> Answer {
    let mut answer = reply::json(StatusCode::OK, body);
    answer.extensions_mut().insert(JobsChanged(jobs));
    answer
}
