//! Operations on one job.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION};
use job_core::store::Action;
use job_core::{Created, Job, JobKey, TASK_NUMBER_MAX, TaskPath};

use super::selection::{next_link, page_limit};
use super::{Api, Call};
use crate::error::ApiError;
use crate::model::graph::GraphModel;
use crate::model::job::{FailureModel, JobModel, TaskModel};
use crate::model::new_job::{Origin, Request};
use crate::reply::{Answer, empty, json};

/// Longest long poll, in seconds.
const WAIT_SECONDS_MAX: u32 = 60;
/// How soon a long poll notices a job that finishes in another process.
const WAIT_POLL: Duration = Duration::from_secs(1);
/// How soon a long poll notices that its client went away or that the server stops.
const WAIT_SLICE: Duration = Duration::from_secs(2);

/// Jobs of a dependency graph when a client names no limit, and at most.
const GRAPH_NODES_DEFAULT: u32 = 100;
const GRAPH_NODES_MAX: u32 = 1_000;

static CACHEABLE: HeaderName = HeaderName::from_static("cacheablejobstatus");

pub(super) async fn create(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let key = call.key()?;
    let media_type = call.headers.get(CONTENT_TYPE);
    if media_type.is_some_and(|value| !is_json(value)) {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Content-Type is not understood here: expected application/json in UTF-8",
        ));
    }
    let request = Request::read(&call.body)?;
    let job = match request.origin()? {
        Origin::Task => request.into_job(key, &call.correlation_id)?,
        Origin::Type { job_type, parameters } => {
            let job = api.service.job_of_type(key, &job_type, parameters).await?;
            request.into_typed_job(job, &call.correlation_id)?
        }
    };
    match api.service.create(job).await? {
        Created::Repeat => Ok(empty(StatusCode::NO_CONTENT)),
        Created::New => {
            let mut answer = empty(StatusCode::CREATED);
            if let Ok(location) = HeaderValue::from_str(&request_url(call)) {
                answer.headers_mut().insert(LOCATION, location);
            }
            Ok(answer)
        }
    }
}

fn is_json(media_type: &HeaderValue) -> bool {
    let Ok(text) = media_type.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let json = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            matches!(value.trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8" | "us-ascii")
        }
        _ => true,
    })
}

/// The URL as the client sees it, as far as that can be known.
fn request_url(call: &Call) -> String {
    let path = call.uri.path_and_query().map_or("/", |path| path.as_str());
    match call.headers.get(HOST).and_then(|host| host.to_str().ok()) {
        Some(host) => format!("{}://{host}{path}", if call.is_tls { "https" } else { "http" }),
        None => path.to_owned(),
    }
}

pub(super) async fn get(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let key = call.key()?;
    let job = match call.query.number("wait", WAIT_SECONDS_MAX)? {
        None | Some(0) => api.service.get(&key).await?,
        Some(seconds) => wait(api, call, &key, Duration::from_secs(seconds.into())).await?,
    };
    Ok(json(StatusCode::OK, &JobModel::new(&job, api.service.now())))
}

async fn wait(api: &Api, call: &Call, key: &JobKey, limit: Duration) -> Result<Job, ApiError> {
    let deadline = api.service.now().saturating_add(limit);
    loop {
        let left = deadline.since(api.service.now());
        let job = api.service.wait(key, left.min(WAIT_SLICE), WAIT_POLL).await?;
        let over = left <= WAIT_SLICE || api.shutdown.is_stopping() || call.gone.is_cancelled();
        if over || job.status.is_finished() {
            return Ok(job);
        }
    }
}

pub(super) async fn is_active(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let active = api.service.is_active(&call.key()?).await?;
    Ok(cacheable(api, json(StatusCode::OK, &active)))
}

pub(super) async fn status(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let status = api.service.status(&call.key()?).await?;
    Ok(cacheable(api, json(StatusCode::OK, &status)))
}

/// Workers keep such an answer for as long as it says.
fn cacheable(api: &Api, mut answer: Answer) -> Answer {
    let seconds = api.status_check_interval.as_secs();
    let headers = answer.headers_mut();
    headers.insert(&CACHEABLE, HeaderValue::from_static("true"));
    if let Ok(value) = HeaderValue::from_str(&format!("no-transform, max-age={seconds}")) {
        headers.insert(CACHE_CONTROL, value);
    }
    answer
}

pub(super) async fn act(api: &Api, call: &Call, action: Action) -> Result<Answer, ApiError> {
    api.service.act(&call.key()?, action).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(super) async fn tasks(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let key = call.key()?;
    let path = call.query.get("path").unwrap_or_default();
    let parent: TaskPath = path.parse().map_err(|error| ApiError::bad_request(format!("path: {error}")))?;
    let after = call.query.number("after", TASK_NUMBER_MAX)?.unwrap_or(0);
    let limit = page_limit(api, call)?;
    // One more than asked for tells whether there is a next page.
    let mut tasks = api.service.tasks(&key, &parent, after, limit + 1).await?;
    let more = tasks.len() > limit as usize;
    tasks.truncate(limit as usize);
    let mut answer = json(StatusCode::OK, &tasks.iter().map(TaskModel::from).collect::<Vec<_>>());
    if let Some(last) = tasks.last().filter(|_| more).and_then(|task| task.path.numbers().last()) {
        next_link(call, &last.to_string(), &mut answer);
    }
    Ok(answer)
}

pub(super) async fn failures(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let key = call.key()?;
    let after = call.query.number("after", u64::MAX)?.unwrap_or(0);
    let limit = page_limit(api, call)?;
    let mut failures = api.service.failures(&key, after, limit + 1).await?;
    let more = failures.len() > limit as usize;
    failures.truncate(limit as usize);
    let models: Vec<_> = failures.iter().map(|(_, path, failure)| FailureModel::new(path, failure)).collect();
    let mut answer = json(StatusCode::OK, &models);
    if let Some((place, ..)) = failures.last().filter(|_| more) {
        next_link(call, &place.to_string(), &mut answer);
    }
    Ok(answer)
}

/// The jobs around a job; `limit` bounds how many.
pub(super) async fn dependencies(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let limit = call.query.number("limit", GRAPH_NODES_MAX)?;
    let nodes = limit.filter(|limit| *limit > 0).unwrap_or(GRAPH_NODES_DEFAULT);
    let graph = api.service.dependency_graph(&call.key()?, nodes as usize).await?;
    Ok(json(StatusCode::OK, &GraphModel::new(&graph)))
}
