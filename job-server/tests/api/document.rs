//! The OpenAPI document and the server say the same: every answer is described, and what is described can be had.

use std::collections::BTreeSet;
use std::sync::Arc;

use job_core::progress::ReportEvent;
use job_core::{Failure, Timestamp};
use job_server::{Config, Limits};
use job_store_memory::MemoryStore;
use serde_json::{Value, json};

use crate::client::{Answer, request};
use crate::server::{BODY, JSON, Server};

/// What is about load, time, defects and who asks, and has tests of its own.
const PROVOKED_ELSEWHERE: [&str; 8] = ["401", "403", "408", "413", "414", "429", "431", "503"];

const ONLY_FOREIGN_PARTITIONS_ARE_MISSING: [&str; 9] = [
    "cancelJobs",
    "createOrUpdateJob",
    "deleteJobs",
    "getJobActive",
    "getJobs",
    "getJobsCount",
    "getJobsCountByStatus",
    "resumePartition",
    "suspendPartition",
];

const PARTITION: &str = "/job-service/v1/partitions/{partitionId}";

struct Document {
    root: Value,
    seen: BTreeSet<(String, String)>,
}

impl Document {
    fn new() -> Self {
        let root = serde_saphyr::from_str(include_str!("../../openapi.yaml")).unwrap();
        Self { root, seen: BTreeSet::new() }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(target) => self.root.pointer(&target[1..]).unwrap(),
            None => value,
        }
    }

    /// Holds an answer against what is said about the operation.
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let operation = &self.root["paths"][path][method.to_lowercase()];
        let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path}")).to_owned();
        let status = answer.status.to_string();
        let described = operation["responses"].get(&status);
        let described =
            self.resolve(described.unwrap_or_else(|| panic!("{id} does not describe {answer:?}")));
        for (name, _) in described.get("headers").and_then(Value::as_object).into_iter().flatten() {
            let is_optional = name == "Link";
            assert!(is_optional || answer.header(&name.to_lowercase()).is_some(), "{id} {status}: no {name}");
        }
        match described.get("content").and_then(Value::as_object) {
            None => assert!(answer.body.is_empty(), "{id} {status} has no body: {answer:?}"),
            Some(content) => {
                let media_type = answer.header("content-type").unwrap().split(';').next().unwrap();
                let media = content.get(media_type);
                let media = media.unwrap_or_else(|| panic!("{id} {status} is not described as {media_type}"));
                if media_type == "application/json" {
                    self.check_body(&format!("{id} {status}"), &media["schema"], &answer.json());
                }
            }
        }
        self.seen.insert((id, status));
    }

    fn check_body(&self, what: &str, schema: &Value, body: &Value) {
        let mut schema = schema.clone();
        schema["components"] = self.root["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let problems: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{what}: {problems:?} in {body}");
    }

    /// Every operation and status that the document names.
    fn described(&self) -> BTreeSet<(String, String)> {
        let items = self.root["paths"].as_object().unwrap().values();
        let operations =
            items.flat_map(|item| item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters"));
        operations
            .flat_map(|(_, operation)| {
                let id = operation["operationId"].as_str().unwrap().to_owned();
                let statuses = operation["responses"].as_object().unwrap().keys();
                statuses.map(move |status| (id.clone(), status.clone()))
            })
            .collect()
    }
}

/// Asks `server` and holds the answer against `document`.
async fn ask(server: &Server, document: &mut Document, method: &str, path: &str, target: &str, body: &str) {
    let headers: &[&str] = if body.is_empty() { &[] } else { &[JSON] };
    let answer = request(server.address, method, target, headers, body.as_bytes()).await;
    document.check(method, path, &answer);
}

fn failure() -> Failure {
    Failure { id: "F".into(), time: Timestamp::from_millis(1), source: "w".into(), message: "why".into() }
}

#[tokio::test]
async fn every_answer_is_described_and_what_is_described_can_be_had() {
    let server = Server::start().await;
    let document = &mut Document::new();
    for path in [
        "/",
        "/openapi.yaml",
        "/health-check",
        "/job-service-ui/api-docs/swagger.yaml",
        "/job-service/v1/ping",
        "/job-service/v1/jobTypes",
    ] {
        ask(&server, document, "GET", path, path, "").await;
    }
    ask(&server, document, "GET", "/health-check", "/health-check?name=all", "").await;
    for (path, target) in [
        ("/openapi.yaml", "/openapi.yaml"),
        ("/job-service-ui", "/job-service-ui/"),
        ("/job-service-ui/{file}", "/job-service-ui/swagger-ui.css"),
        ("/job-service-ui/api-docs/swagger.yaml", "/job-service-ui/api-docs/swagger.yaml"),
    ] {
        ask(&server, document, "GET", path, target, "").await;
        let known = request(server.address, "GET", target, &["If-None-Match: *"], b"").await;
        document.check("GET", path, &known);
    }
    ask(&server, document, "GET", "/job-service-ui", "/job-service-ui", "").await;
    for file in ["LICENSE", "swagger-ui.css", "opentext-config.js", "nothing"] {
        ask(&server, document, "GET", "/job-service-ui/{file}", &format!("/job-service-ui/{file}"), "").await;
    }

    let job = format!("{PARTITION}/jobs/{{jobId}}");
    let whole = json!({
        "name": "n", "description": "d", "externalData": "e", "labels": {"k": "v", "l": null}, "delay": 1,
        "prerequisiteJobIds": ["nobody"],
        "task": {"taskClassifier": "W", "taskApiVersion": 1, "taskData": {"a": 1}, "taskPipe": "w-in", "targetPipe": "t"},
    });
    let whole = whole.to_string();
    for (id, body) in
        [("whole", &*whole), ("whole", &*whole), ("failed", BODY), ("tree", BODY), ("gone", BODY)]
    {
        ask(&server, document, "PUT", &job, &Server::job_path(id), body).await;
    }
    ask(&server, document, "PUT", &job, &Server::job_path("bad"), "{}").await;
    let text =
        request(server.address, "PUT", &Server::job_path("text"), &["Content-Type: text/plain"], b"x").await;
    document.check("PUT", &job, &text);
    server.report("failed", ".1", ReportEvent::Failed(failure())).await;
    for task in [".1", ".2.1", ".3"] {
        server.report("tree", task, ReportEvent::Complete).await;
    }
    server.create("finished").await;
    server.report("finished", "", ReportEvent::Complete).await;

    for id in ["whole", "failed", "tree", "finished", "absent", "a%2Cb"] {
        ask(&server, document, "GET", &job, &Server::job_path(id), "").await;
    }
    for part in ["status", "isActive", "tasks", "failures", "dependencies"] {
        for id in ["whole", "failed", "tree", "absent", "a%2Cb"] {
            let target = format!("{}/{part}", Server::job_path(id));
            ask(&server, document, "GET", &format!("{job}/{part}"), &target, "").await;
        }
    }
    for action in ["pause", "resume", "redispatch", "cancel"] {
        for id in ["whole", "finished", "absent"] {
            let target = format!("{}/{action}", Server::job_path(id));
            ask(&server, document, "POST", &format!("{job}/{action}"), &target, "").await;
        }
    }
    for id in ["gone", "absent", "a%2Cb"] {
        ask(&server, document, "DELETE", &job, &Server::job_path(id), "").await;
    }
    for (method, part) in [
        ("GET", "jobs"),
        ("GET", "jobStats"),
        ("GET", "jobStats/count"),
        ("POST", "jobs:cancel"),
        ("POST", "jobs:delete"),
    ] {
        for query in ["?filter=name==n*", "?filter=(", "?jobIdStartsWith=w"] {
            let target = format!("/job-service/v1/partitions/p/{part}{query}");
            ask(&server, document, method, &format!("{PARTITION}/{part}"), &target, "").await;
        }
    }
    for action in ["suspend", "resume"] {
        for partition in ["p", "a%2Cb"] {
            let target = format!("/job-service/v1/partitions/{partition}/{action}");
            ask(&server, document, "POST", &format!("{PARTITION}/{action}"), &target, "").await;
        }
    }
    let suspended = "/job-service/v1/suspendedPartitions";
    for query in ["", "?limit=x"] {
        ask(&server, document, "GET", suspended, &format!("{suspended}{query}"), "").await;
    }
    let missing: Vec<_> = document
        .described()
        .difference(&document.seen)
        .filter(|(_, status)| !PROVOKED_ELSEWHERE.contains(&status.as_str()))
        // To those who may not ask in a partition it looks as if the job were not there.
        .filter(|(id, status)| status != "404" || !ONLY_FOREIGN_PARTITIONS_ARE_MISSING.contains(&id.as_str()))
        .cloned()
        .collect();
    assert!(missing.is_empty(), "described, but not to be had: {missing:?}");
}

#[tokio::test]
async fn the_answer_of_a_partition_that_has_all_its_jobs_is_described() {
    let limits = Limits { live_jobs_max: 1, ..Limits::default() };
    let store = Arc::new(MemoryStore::new());
    let server = Server::with(Config { limits, ..Config::default() }, store).await;
    let document = &mut Document::new();
    let path = format!("{PARTITION}/jobs/{{jobId}}");
    for id in ["a", "b"] {
        ask(&server, document, "PUT", &path, &Server::job_path(id), BODY).await;
    }
    assert!(document.seen.contains(&("createOrUpdateJob".into(), "429".into())));
}

/// What any operation answers whose caller has to be somebody, and those about a partition too.
#[test]
fn every_operation_with_a_role_describes_its_refusals() {
    let document = Document::new();
    for (path, item) in document.root["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            if operation["x-required-role"] == "none" {
                continue;
            }
            let in_partition = path.starts_with(PARTITION).then_some("404");
            for status in ["401", "403", "414", "429", "431", "503"].into_iter().chain(in_partition) {
                assert!(operation["responses"].get(status).is_some(), "{method} {path} lacks {status}");
            }
        }
    }
}
