//! Listing job types.

use hyper::StatusCode;
use serde_json::json;

use super::Api;
use crate::reply::{self, Answer};

/// What each type takes; never its script, which is the operator's.
pub(super) fn list(api: &Api) -> Answer {
    let types: Vec<_> = api
        .service
        .job_types()
        .iter()
        .map(|known| json!({ "id": known.id(), "jobParametersSchema": known.parameters_schema() }))
        .collect();
    reply::json(StatusCode::OK, &types)
}
