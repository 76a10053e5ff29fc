//! The contract, row by row: every operation, parameter, header, status and body of `rest.md` §1 to §3 and §5, with the
//! deviations of `differences.md`, on every store.
//!
//! A row is one request and what its answer must be, or something that happens between requests. It cites the section it
//! comes from; `+` marks an addition or a deviation of `differences.md`. Rows of one list share a partition and run in
//! order.

mod create;
mod dependencies;
mod lists;
mod row;
mod service;
mod statuses;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use job_core::job_type::{JobType, JobTypes};
use job_core::store::{ClaimRequest, JobStore, TaskReport};
use job_core::{Clock as _, IdSource as _, JobKey, RandomIds, SystemClock};
use job_server::Config;
use job_store_memory::MemoryStore;
use job_store_postgres::{PostgresOptions, PostgresStore};
use serde_json::Value;

use crate::client::{Answer, request};
use crate::server::Server;
use row::{Check, Row, Step};

const TYPE: &str = r#"
jobParametersSchema: {type: object, properties: {a: {type: string}}, additionalProperties: false}
taskScript: |
  if (.parameters.a == "refuse") error("no")
  else {"taskClassifier": "W", "taskApiVersion": 1, "taskPipe": if (.parameters.a == "nowhere") "" else "w-in", "taskData": {}}
"#;

fn lists() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("service", service::rows()),
        ("create", create::rows()),
        ("lists", lists::rows()),
        ("statuses", statuses::rows()),
        ("dependencies", dependencies::rows()),
        // Its jobs are created as suspended.
        ("suspended", dependencies::suspended_rows()),
    ]
}

async fn every_row_holds<S: JobStore>(store: Arc<S>) {
    let known = JobType::load("known", TYPE, &|_| None).unwrap();
    let config = Config {
        job_types: JobTypes::new([known]).unwrap(),
        // Nothing is dispatched, so that a job's status is what its reports made it.
        roles: "api".parse().unwrap(),
        suspended_partitions: Some("suspended".parse().unwrap()),
        ..Config::default()
    };
    let server = Server::with(config, store).await;
    let (mut wrong, mut rows) = (Vec::new(), 0);
    for (partition, list) in lists() {
        let mut run = Run { server: &server, partition, remembered: BTreeMap::new() };
        rows += list.len();
        for row in &list {
            for problem in run.row(row).await {
                wrong.push(format!("§{} in {partition}: {:?}: {problem}", row.cites, row.step));
            }
        }
    }
    assert!(rows >= 300, "{rows} rows");
    assert!(wrong.is_empty(), "{} problems in {rows} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn every_row_holds_on_the_memory_store() {
    every_row_holds(Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_holds_on_postgres() {
    let connect = async |url: &str| -> job_core::Result<PostgresStore> {
        PostgresStore::connect(PostgresOptions::new(url)?, Arc::new(SystemClock::new())).await
    };
    let migrate = async |url: &str| -> job_core::Result<()> { connect(url).await?.migrate().await.map(drop) };
    let database = testkit::TestDatabase::create("contract_v1", migrate).await.unwrap();
    every_row_holds(Arc::new(connect(database.url()).await.unwrap())).await;
}

/// One list on one server.
struct Run<'a> {
    server: &'a Server,
    partition: &'static str,
    /// What a later row is held against.
    remembered: BTreeMap<&'static str, Value>,
}

impl Run<'_> {
    /// What is wrong with a row.
    async fn row(&mut self, row: &Row) -> Vec<String> {
        match &row.step {
            Step::Report { job, task, event } => {
                let job = JobKey::parse(self.partition, *job).unwrap();
                let report = TaskReport { job, task: task.parse().unwrap(), event: event.clone() };
                self.server.store.record(&[report], SystemClock::new().now()).await.unwrap();
                Vec::new()
            }
            Step::Later => {
                let begun = SystemClock::new().now();
                while SystemClock::new().now().since(begun) < Duration::from_millis(2) {
                    tokio::task::yield_now().await;
                }
                Vec::new()
            }
            Step::Due(expected) => {
                let due = self.due().await;
                let is_right = due == *expected;
                if is_right { Vec::new() } else { vec![format!("due are {due:?}")] }
            }
            Step::Ask { method, target, headers, body } => {
                let target = self.filled(target);
                let (address, target) = match target.strip_prefix("admin:") {
                    Some(target) => (self.server.admin, target),
                    None => (self.server.address, &*target),
                };
                let answer = request(address, method, target, headers, body.as_bytes()).await;
                let checks = row.checks.iter();
                let mut problems: Vec<String> =
                    checks.filter_map(|check| self.check(check, &answer).err()).collect();
                if answer.status != row.status {
                    problems.push(format!("{} instead of {}", answer.status, row.status));
                }
                if problems.is_empty() {
                    return problems;
                }
                let shown: String = String::from_utf8_lossy(&answer.body).chars().take(400).collect();
                problems.push(format!("the answer is {shown}"));
                problems
            }
        }
    }

    /// The partition's jobs whose first message could be published now.
    async fn due(&self) -> Vec<String> {
        let claim = ClaimRequest {
            owner: RandomIds.next(),
            now: SystemClock::new().now(),
            lease: Duration::ZERO,
            limit: 1_000,
            bytes_limit: usize::MAX,
        };
        let claimed = self.server.store.claim(claim).await.unwrap();
        let here = claimed.entries.iter().map(|entry| &entry.job);
        let mut ids: Vec<String> = here
            .filter(|job| job.partition.as_str() == self.partition)
            .map(|job| job.job.as_str().to_owned())
            .collect();
        ids.sort();
        ids
    }

    /// `P` at the beginning stands for the path of the partition.
    fn filled(&self, target: &str) -> String {
        match target.strip_prefix("P/") {
            Some(rest) => format!("/job-service/v1/partitions/{}/{rest}", self.partition),
            None => target.to_owned(),
        }
    }

    fn check(&mut self, check: &Check, answer: &Answer) -> Result<(), String> {
        let text = || String::from_utf8_lossy(&answer.body).into_owned();
        let json = || -> Result<Value, String> {
            serde_json::from_slice(&answer.body).map_err(|error| format!("the body is not JSON: {error}"))
        };
        let hold = |holds: bool, expected: &dyn std::fmt::Debug| {
            if holds { Ok(()) } else { Err(format!("expected {expected:?}")) }
        };
        match check {
            Check::Text(expected) => hold(text() == *expected, expected),
            Check::Contains(expected) => hold(text().contains(expected), expected),
            Check::Json(expected) => hold(json()? == *expected, expected),
            Check::Member(pointer, expected) => {
                hold(json()?.pointer(pointer) == Some(expected), &(pointer, expected))
            }
            Check::Order(names) => {
                let text = text();
                let places: Vec<_> = names.iter().map(|name| text.find(&format!("\"{name}\":"))).collect();
                hold(places.is_sorted() && places.iter().all(Option::is_some), names)
            }
            Check::Ids(expected) => {
                let jobs = json()?;
                let ids: Vec<&str> =
                    jobs.as_array().into_iter().flatten().filter_map(|job| job["id"].as_str()).collect();
                hold(ids == *expected, expected)
            }
            Check::Message(expected) => hold(json()? == serde_json::json!({ "message": expected }), expected),
            Check::MessageHas(expected) => {
                let body = json()?;
                let is_alone = body.as_object().is_some_and(|members| members.len() == 1);
                let holds = body["message"].as_str().is_some_and(|message| message.contains(expected));
                hold(is_alone && holds, expected)
            }
            Check::Header(name, expected) => {
                let expected = expected
                    .replace("{address}", &self.server.address.to_string())
                    .replace("{partition}", self.partition);
                hold(answer.header(name) == Some(&expected), &(name, expected))
            }
            Check::HeaderHas(name, text) => {
                hold(answer.header(name).is_some_and(|value| value.contains(text)), &(name, text))
            }
            Check::NoHeader(name) => hold(answer.header(name).is_none(), &format!("no {name}")),
            Check::HeaderLength(name, length) => {
                hold(answer.header(name).map(str::len) == Some(*length), &(name, length))
            }
            Check::Kept(name, pointer) => {
                let now = json()?.pointer(pointer).cloned().unwrap_or_default();
                let before = self.remembered.entry(name).or_insert_with(|| now.clone());
                hold(*before == now, &format!("{pointer} to be {before}, as it was"))
            }
        }
    }
}
