//! Listing jobs.

use hyper::StatusCode;
use job_core::query::{Cursor, JobQuery, Sort};

use super::selection::{next_link, page_limit, selection};
use super::{Api, Call};
use crate::error::ApiError;
use crate::model::job::JobModel;
use crate::reply::{Answer, json};

pub(super) async fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let partition = call.partition()?;
    let sort: Sort = match call.query.get("sort") {
        Some(text) => text.parse()?,
        None => Sort::default(),
    };
    let query = JobQuery {
        partition,
        selection: selection(call, true, true)?,
        after: cursor(call, &sort)?,
        sort,
        offset: call.query.number("offset", i32::MAX.unsigned_abs())?.unwrap_or(0),
        limit: page_limit(api, call)?,
    };
    let page = api.service.list(&query).await?;
    let now = api.service.now();
    let models: Vec<_> = page.jobs.iter().map(|job| JobModel::new(job, now)).collect();
    let mut answer = json(StatusCode::OK, &models);
    if let Some(next) = page.next {
        next_link(call, &query.sort.write_cursor(&next), &mut answer);
    }
    Ok(answer)
}

fn cursor(call: &Call, sort: &Sort) -> Result<Option<Cursor>, ApiError> {
    let text = call.query.get("after").filter(|text| !text.is_empty());
    Ok(text.map(|text| sort.read_cursor(text)).transpose()?)
}
