//! Whether this process is well, for load balancers and people.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde_json::json;

use super::{Api, Call};
use crate::health::{CheckKind, CheckResult};
use crate::reply::{self, Answer, with_body};

/// The contract's literal text.
pub(super) fn ping() -> Answer {
    with_body(StatusCode::OK, "application/json", r#"{"success" : true}"#)
}

pub(super) fn admin_ping() -> Answer {
    with_body(StatusCode::OK, "text/plain; charset=utf-8", "pong\n")
}

/// `type=ALIVE` asks whether to restart this process, anything else whether to send it requests; `name` lists checks.
pub(super) async fn check(api: &Api, call: &Call) -> Answer {
    let alive_only = call.query.get("type").is_some_and(|kind| kind.eq_ignore_ascii_case("ALIVE"));
    let names: Vec<String> = call.query.all("name").map(str::to_lowercase).collect();
    // Whether it is alive must not wait for a backend.
    let results =
        if alive_only && names.is_empty() { api.health.alive().await } else { api.health.results().await };
    let healthy = results
        .iter()
        .filter(|result| !alive_only || result.kind == CheckKind::Alive)
        .all(CheckResult::is_healthy);
    let asked = |result: &&CheckResult| names.iter().any(|name| name == "all" || name == result.name);
    let shown: Vec<_> = results.iter().filter(asked).map(CheckResult::summary).collect();
    let mut answer = reply::json(status(healthy, StatusCode::SERVICE_UNAVAILABLE), &shown);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Every check with its reason.
pub(super) async fn admin_check(api: &Api) -> Answer {
    let results = api.health.results().await;
    let healthy = results.iter().all(CheckResult::is_healthy);
    let shown: BTreeMap<_, _> = results
        .iter()
        .map(|result| (result.name, json!({ "healthy": result.is_healthy(), "message": result.problem })))
        .collect();
    let mut answer = reply::json(status(healthy, StatusCode::INTERNAL_SERVER_ERROR), &shown);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn status(healthy: bool, otherwise: StatusCode) -> StatusCode {
    if healthy { StatusCode::OK } else { otherwise }
}
