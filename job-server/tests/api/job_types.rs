//! Jobs whose task a job type makes.

use std::sync::Arc;

use job_core::Clock as _;
use job_core::SystemClock;
use job_core::job_type::{JobType, JobTypes};
use job_core::store::{ClaimRequest, OutboxContent};
use job_server::{App, Config};
use job_store_memory::MemoryStore;
use serde_json::{Value, json};

use crate::server::{BODY, Server};

const INGEST: &str = r#"
configurationProperties: [{name: ingest_queue, description: where it goes}]
constants: {source: import}
jobParametersSchema:
  type: object
  properties:
    folder: {type: string, maxLength: 10}
    depth: {type: [integer, "null"]}
    options: {}
  required: [folder]
  additionalProperties: false
taskScript: |
  if (.parameters.folder == "refuse") error("this folder is not for us")
  else if (.parameters.folder == "broken") 1 + (1 < true)
  else if (.parameters.folder == "wrong") {"taskClassifier": ""}
  else {
    "taskClassifier": "Ingest", "taskApiVersion": 1, "taskPipe": .configuration.ingest_queue, "targetPipe": null,
    "taskData": {
      "folder": .parameters.folder, "source": .constants.source, "of": .partitionId + "/" + .jobId,
      "depth": .parameters.depth, "options": .parameters.options, "empty": {}
    }
  }
"#;

const PLAIN: &str = r#"
taskScript: '{"taskClassifier":"P","taskApiVersion":1,"taskPipe":"p-in","taskData":{"given":.parameters,"unique":uuid()}}'
"#;

const ANY: &str = r#"
jobParametersSchema: {}
taskScript: '{"taskClassifier":"P","taskApiVersion":1,"taskPipe":"p-in","taskData":{"given":.parameters}}'
"#;

async fn server() -> Server {
    let configuration = |name: &str| (name == "INGEST_QUEUE").then(|| "ingest-in".to_owned());
    let types = [("ingest", INGEST), ("plain", PLAIN), ("any thing", ANY)]
        .map(|(id, yaml)| JobType::load(id, yaml, &configuration).unwrap());
    // Without a dispatcher, so that the outbox can be looked into.
    let config = Config {
        job_types: JobTypes::new(types).unwrap(),
        roles: "api".parse().unwrap(),
        ..Config::default()
    };
    Server::with(config, Arc::new(MemoryStore::new())).await
}

fn body(job_type: &str, parameters: &str) -> String {
    let parameters =
        if parameters.is_empty() { String::new() } else { format!(",\"parameters\":{parameters}") };
    format!("{{\"type\":{}{parameters}}}", Value::from(job_type))
}

/// The data of the only task that is due.
async fn task_data(server: &Server) -> Value {
    let owner = job_core::IdSource::next(&job_core::RandomIds);
    let now = SystemClock::new().now();
    let request = ClaimRequest {
        owner,
        now,
        lease: std::time::Duration::from_secs(9),
        limit: 9,
        bytes_limit: usize::MAX,
    };
    let mut claimed = server.store.claim(request).await.unwrap().entries;
    assert_eq!(claimed.len(), 1);
    match claimed.remove(0).content {
        OutboxContent::Start { task, .. } => serde_json::from_slice(&task.data).unwrap(),
        OutboxContent::Stowed { .. } => panic!("not a first task"),
    }
}

#[tokio::test]
async fn the_task_is_what_the_script_makes_and_nulls_survive() {
    let server = server().await;
    let answer = server.put("j", &body("ingest", r#"{"folder":"in","options":{"a":null,"b":[]}}"#)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(
        task_data(&server).await,
        json!({
            "folder": "in", "source": "import", "of": "p/j", "depth": null,
            "options": {"a": null, "b": []}, "empty": {},
        })
    );
    let job = server.get_job("j").await.json();
    assert_eq!((&job["type"], &job["status"]), (&json!("ingest"), &json!("Waiting")));
}

#[tokio::test]
async fn the_same_type_and_parameters_are_the_same_request_whatever_the_script_makes() {
    let server = server().await;
    assert_eq!(server.put("j", &body("plain", "")).await.status, 201);
    assert_eq!(server.put("j", &body("plain", "null")).await.status, 204);
    assert_eq!(server.put("j", &body("any thing", "")).await.status, 403);
    let forms = ["0", "[]", "{}", "false", "\"\"", "{\"a\":null}"];
    for (index, parameters) in forms.iter().enumerate() {
        let id = format!("k{index}");
        assert_eq!(server.put(&id, &body("any thing", parameters)).await.status, 201, "{parameters}");
        for other in forms {
            let expected = if other == *parameters { 204 } else { 403 };
            let status = server.put(&id, &body("any thing", other)).await.status;
            assert_eq!(status, expected, "{parameters} then {other}");
        }
        assert_eq!(server.put(&id, &body("any thing", "")).await.status, 403, "{parameters} then none");
    }
}

#[tokio::test]
async fn what_the_type_does_not_take_is_refused() {
    let server = server().await;
    let large = format!("\"{}\"", "x".repeat(256 * 1024));
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let undefined = "is not defined in the schema and the schema does not allow additional properties";
    for (job_type, parameters, status, expected) in [
        ("nope", "", 400, "Unknown job type ID: nope".to_owned()),
        ("Ingest", "", 400, "Unknown job type ID: Ingest".to_owned()),
        ("", "", 400, "Unknown job type ID: ".to_owned()),
        ("ingest", "", 400, "Invalid job parameters:\n$: null found, object expected".to_owned()),
        ("ingest", "\"x\"", 400, "Invalid job parameters:\n$: string found, object expected".to_owned()),
        ("plain", "\"x\"", 400, "Invalid job parameters:\n$: string found, null expected".to_owned()),
        ("ingest", "{\"folder\":1}", 400, "$.folder: integer found, string expected".to_owned()),
        ("ingest", "{\"folder\":\"a\",\"x\":1}", 400, format!("$: property 'x' {undefined}")),
        ("ingest", "{\"folder\":\"longer than 10\"}", 400, "must be at most 10 characters long".to_owned()),
        ("ingest", "{\"folder\":\"refuse\"}", 400, "ingest: error: this folder is not for us".to_owned()),
        (
            "ingest",
            "{\"folder\":\"broken\"}",
            400,
            "ingest: taskScript execution failed: Can't compare 1 and true at line 2, column 49, which reads parameters.folder"
                .to_owned(),
        ),
        (
            "ingest",
            "{\"folder\":\"wrong\"}",
            400,
            "ingest: Invalid taskScript:\n$: required property 'taskApiVersion' not found".to_owned(),
        ),
        ("any thing", &large, 400, "parameters are 262146 bytes of JSON: at most 262144".to_owned()),
        ("any thing", &deep, 400, "parameters are nested too deeply: at most 64 levels".to_owned()),
    ] {
        let answer = server.put("j", &body(job_type, parameters)).await;
        let shown: String = parameters.chars().take(50).collect();
        assert_eq!(answer.status, status, "{job_type} {shown}: {answer:?}");
        assert!(answer.message().contains(&expected), "{job_type} {shown}: {}", answer.message());
    }
    let both = BODY.replacen('{', "{\"type\":\"nope\",", 1);
    let message = server.put("j", &both).await.message();
    assert_eq!(message, "Specifying both typeId and task properties is not allowed.");
    let label = body("plain", "").replacen('{', "{\"labels\":{\"a b\":\"c\"},", 1);
    assert!(server.put("j", &label).await.message().starts_with("A provided label name contains"));
    assert_eq!(server.get_job("j").await.status, 404);
}

#[tokio::test]
async fn types_are_listed_with_what_they_take() {
    let server = server().await;
    let answer = server.get("/job-service/v1/jobTypes").await;
    assert_eq!(answer.status, 200);
    let types = answer.json();
    let ids: Vec<_> = types.as_array().unwrap().iter().map(|known| known["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["any thing", "ingest", "plain"]);
    assert_eq!(types[2]["jobParametersSchema"], json!({"type": "null"}));
    assert_eq!(types[1]["jobParametersSchema"]["required"], json!(["folder"]));
    assert!(!answer.text().contains("taskScript"));
}

#[tokio::test]
async fn a_directory_of_definitions_is_loaded_at_the_start_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("plain.yaml"), PLAIN).unwrap();
    let config = |directory: &std::path::Path| {
        use clap::Parser as _;
        let directory = directory.to_str().unwrap();
        let arguments = ["x", "serve", "--listen", "127.0.0.1:0", "--job-type-definitions-dir", directory];
        match job_server::config::CommandLine::parse_from(arguments).command {
            job_server::config::Command::Serve(arguments) => arguments.config(),
            _ => panic!("not serve"),
        }
    };
    let app_config = Config { admin_listen: None, ..config(directory.path()).unwrap() };
    let queue = Arc::new(job_queue_memory::MemoryQueue::new());
    let app = App::build(app_config, Arc::new(MemoryStore::new()), queue).await.unwrap();
    assert!(app.engine().service().job_types().get("plain").is_some());
    let shutdown = job_core::Shutdown::new();
    shutdown.stop();
    assert!(app.run(shutdown).await);
    std::fs::write(directory.path().join("b.yaml"), "taskScript: '('").unwrap();
    let sentence = format!("{:#}", config(directory.path()).unwrap_err());
    assert!(
        sentence.contains("Error loading job type definitions") && sentence.contains("b: invalid"),
        "{sentence}"
    );
}
