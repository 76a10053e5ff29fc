//! Secrets that would be recognised wherever they came out: they come out nowhere.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::Stdio;

use crate::client::request;
use crate::process::command;
use crate::server::{JSON, Server};
use crate::tokens::TokenBox;

/// Those that neither the log nor an answer may hold, and those that clients sent, which only the log may not.
const OURS: [&str; 2] = ["canary-broker", "canary-secret"];
const THEIRS: [&str; 8] = [
    "canary-data",
    "canary-label",
    "canary-external",
    "canary-malformed",
    "canary-token",
    "canary-proof",
    "canary-filter",
    "canary-basic",
];

fn password(url: &str) -> &str {
    let (login, _) = url.split_once("://").unwrap().1.split_once('@').unwrap();
    login.split_once(':').unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_ever_printed() {
    let database = testkit::TestDatabase::create("empty", async |_: &str| anyhow::Ok(())).await.unwrap();
    let tokens = TokenBox::new();
    let token = tokens.create("operator", Some("p"));
    let secret = format!("canary-secret-{}", "x".repeat(32));
    let mut child = command(&["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .envs([("CAF_LOG_LEVEL", "trace"), ("JOB_SERVICE_LOG_FORMAT", "json")])
        .env("JOB_SERVICE_STORE", database.url())
        // Nothing listens there: the log is full of failures.
        .env("JOB_SERVICE_QUEUE", "amqp://guest:canary-broker@127.0.0.1:1/")
        .env("JOB_SERVICE_SECRET", &secret)
        .envs([("JOB_SERVICE_TOKENS", tokens.file()), ("JOB_SERVICE_AUDIT_LOG", tokens.audit_log())])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut printed = String::new();
    let address: SocketAddr = loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {printed}");
        printed.push_str(&line);
        if let Some((_, rest)) = line.split_once("the API is at http://") {
            break rest.split('/').next().unwrap().parse().unwrap();
        }
    };
    // Read while it runs, so that it never waits for its log.
    let reading = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rest = String::new();
            log.read_to_string(&mut rest).unwrap();
            rest
        });
        let answers = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(provoke(address, &token))
        });
        let id = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        child.wait().unwrap();
        (reader.join().unwrap(), answers)
    });
    let (rest, answers) = reading;
    printed.push_str(&rest);
    printed.push_str(&std::fs::read_to_string(tokens.audit_log()).unwrap());
    assert!(
        printed.contains("answered") && printed.contains("createOrUpdateJob"),
        "it was on trace: {printed}"
    );
    // The secret itself, behind the id; it may hold further underscores.
    let ours = [password(database.url()), token.splitn(3, '_').last().unwrap(), OURS[0], OURS[1]];
    for canary in ours.into_iter().chain(THEIRS) {
        let hits: Vec<_> = printed.lines().filter(|line| line.contains(canary)).collect();
        assert!(hits.is_empty(), "{canary}: {hits:?}");
    }
    for canary in ours.into_iter().chain(["canary-token", "canary-basic", "canary-proof"]) {
        assert!(!answers.contains(canary), "{canary}: {answers}");
    }
}

/// Sends everything secret that a client can send; gives back all that it was told.
async fn provoke(address: SocketAddr, token: &str) -> String {
    let bearer = format!("Authorization: Bearer {token}");
    let good = r#"{"externalData":"canary-external","labels":{"k":"canary-label"},"task":{"taskClassifier":"W","taskApiVersion":1,"taskData":"canary-data","taskPipe":"w-in"}}"#;
    let wrong_task = r#"{"task":{"taskClassifier":"W","taskApiVersion":"canary-data","taskData":{"a":"canary-data"},"taskPipe":"w-in"}}"#;
    let job = Server::job_path("j");
    let list = job.strip_suffix("/j").unwrap();
    let mut heard = String::new();
    let mut ask = async |method: &str, target: &str, headers: &[&str], body: &str| {
        let answer = request(address, method, target, headers, body.as_bytes()).await;
        heard.push_str(&format!("{:?} {}\n", answer.headers, String::from_utf8_lossy(&answer.body)));
        answer.status
    };
    let authorised = [JSON, bearer.as_str()];
    assert_eq!(ask("PUT", &job, &authorised, good).await, 201);
    assert_eq!(ask("PUT", &job, &authorised, &good.replace("canary-data", "canary-data2")).await, 403);
    assert_eq!(ask("PUT", &job, &authorised, wrong_task).await, 400);
    assert_eq!(ask("PUT", &job, &authorised, "{\"canary-malformed\": canary-malformed").await, 400);
    assert_eq!(ask("GET", &job, &[], "").await, 401);
    assert_eq!(ask("GET", &job, &["Authorization: Bearer jobsvc_00000000_canary-token"], "").await, 401);
    assert_eq!(ask("GET", &job, &["Authorization: Basic canary-basic"], "").await, 401);
    assert_eq!(ask("GET", &format!("{job}/status?c=canary-proof"), &[], "").await, 403);
    assert_eq!(ask("GET", &format!("{list}?filter=name==canary-filter"), &[&bearer], "").await, 200);
    assert_eq!(ask("GET", &format!("{list}?filter=canary-filter"), &[&bearer], "").await, 400);
    assert_eq!(ask("POST", &format!("{job}/cancel"), &[&bearer], "").await, 204);
    assert_eq!(ask("DELETE", &job, &[&bearer], "").await, 204);
    ask("GET", "/health-check?name=all", &[], "").await;
    heard
}
