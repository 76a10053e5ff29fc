//! The binary as an operator meets it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use crate::client::{Connection, request};
use crate::server::{BODY, JSON, Server};

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_job-server"));
    // Settings of whoever runs the tests must not reach the server.
    command.env_clear().args(arguments);
    command
}

pub(crate) fn output(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A served process; it is killed with the test.
struct Process {
    child: Child,
    address: SocketAddr,
    log: BufReader<std::process::ChildStderr>,
}

impl Process {
    fn start() -> Self {
        let arguments =
            ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"];
        let mut command = command(&arguments);
        command.env("JOB_SERVICE_LISTEM", "x").env("CAF_BATCH_WORKER_ERROR_QUEUE", "x");
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended: {seen}");
            let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = entry["message"].as_str().unwrap().strip_prefix("the API is at http://") {
                break address.split('/').next().unwrap().parse().unwrap();
            }
            seen.push_str(&line);
        };
        for said in
            ["is JOB_SERVICE_LISTEN meant?", "CAF_BATCH_WORKER_ERROR_QUEUE means nothing here: a batch"]
        {
            assert!(seen.contains(said), "what is set in vain is named: {seen}");
        }
        Self { child, address, log }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_signal_stops_it_in_order() {
    for signal in ["TERM", "INT"] {
        let mut process = Process::start();
        let created = request(process.address, "PUT", &Server::job_path("j"), &[JSON], BODY.as_bytes()).await;
        assert_eq!(created.status, 201);
        let mut idle = Connection::open(process.address).await;
        idle.send("GET /job-service/v1/ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(idle.answer(false).await.unwrap().status, 200);
        process.signal(signal);
        assert!(idle.is_closed().await);
        let status = process.child.wait().unwrap();
        let rest: Vec<String> = (&mut process.log).lines().map(Result::unwrap).collect();
        assert_eq!(status.code(), Some(0), "{rest:?}");
        assert!(rest.last().unwrap().contains("stopped"), "{rest:?}");
    }
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start();
    // A request that its client does not finish for now keeps the process.
    let mut slow = Connection::open(process.address).await;
    slow.send(format!(
        "PUT {} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: 100\r\n\r\n{{",
        Server::job_path("j")
    ))
    .await;
    assert_eq!(request(process.address, "GET", "/job-service/v1/ping", &[], b"").await.status, 200);
    process.signal("TERM");
    let mut line = String::new();
    while !line.contains("a second signal") {
        line.clear();
        assert_ne!(process.log.read_line(&mut line).unwrap(), 0, "it ended at the first");
    }
    process.signal("TERM");
    assert_eq!(process.child.wait().unwrap().code(), Some(130));
}

#[test]
fn wrong_settings_stop_the_start_with_a_sentence() {
    for (arguments, expected) in [
        (&["serve", "--listem", "x"][..], "unexpected argument '--listem'"),
        (&["serve", "--store", "oracle://u:secret@h"], "a store of the kind \"oracle\" is not known"),
        (&["serve", "--listen", "0.0.0.0:0"], "--allow-unauthenticated"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["serve", "--page-size=-1"], "--page-size"),
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains(expected), "{arguments:?}: {}", said(&output));
        assert!(!said(&output).contains("secret"), "{}", said(&output));
    }
    // Nothing listens there: a store that was named is never replaced by the one in memory.
    let unreachable = command(&["serve", "--listen", "127.0.0.1:0"])
        .envs([("JOB_SERVICE_DATABASE_HOST", "127.0.0.1"), ("JOB_SERVICE_DATABASE_PORT", "1")])
        .env("JOB_SERVICE_DATABASE_PASSWORD", "secret")
        .output()
        .unwrap();
    assert_eq!(unreachable.status.code(), Some(2));
    assert!(said(&unreachable).contains("the store cannot be used"), "{}", said(&unreachable));
    assert!(!said(&unreachable).contains("secret"), "{}", said(&unreachable));
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = output(&["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains(&format!("{address} cannot be listened on")), "{}", said(&output));
}

#[test]
fn help_teaches() {
    let bare = output(&[]);
    assert_eq!(bare.status.code(), Some(2));
    assert!(said(&bare).contains("job-server serve"), "{}", said(&bare));
    let help = said(&output(&["serve", "--help"]));
    for expected in ["JOB_SERVICE_LISTEN", "CAF_TRACKING_PIPE", "curl -X PUT", "127.0.0.1:8080"] {
        assert!(help.contains(expected), "{help}");
    }
}

#[test]
fn config_shows_what_is_in_force_and_hides_secrets() {
    let shown = command(&["config", "--listen", "127.0.0.1:9"])
        .env("JOB_SERVICE_STORE", "postgres://u:hunter2@db/jobs")
        .env("CAF_RABBITMQ_PASSWORD", "hunter2")
        .env("CAF_RABBITMQ_HOSTS", "x")
        .output()
        .unwrap();
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    let text = said(&shown);
    let line = |name: &str| {
        let mut found = text.lines().filter(|line| line.starts_with(name));
        found
            .next()
            .unwrap_or_else(|| panic!("{name}: {text}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("JOB_SERVICE_STORE "), "JOB_SERVICE_STORE postgres://u:***@db/jobs environment");
    assert_eq!(line("CAF_RABBITMQ_PASSWORD "), "CAF_RABBITMQ_PASSWORD *** environment");
    assert_eq!(line("JOB_SERVICE_LISTEN "), "JOB_SERVICE_LISTEN 127.0.0.1:9 --listen");
    assert_eq!(line("CAF_TRACKING_PIPE "), "CAF_TRACKING_PIPE jobtracking-in default");
    assert!(text.contains("CAF_RABBITMQ_HOSTS means nothing here; is CAF_RABBITMQ_HOST meant?"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let well = output(&["doctor"]);
    assert_eq!(well.status.code(), Some(0), "{}", said(&well));
    assert!(said(&well).contains("jobs are kept in memory"), "{}", said(&well));
    // Nothing listens there.
    let ill = output(&["doctor", "--store", "postgres://u:hunter2@127.0.0.1:1/d"]);
    assert_eq!(ill.status.code(), Some(1), "{}", said(&ill));
    assert!(said(&ill).contains("is the database up"), "{}", said(&ill));
    assert!(!said(&ill).contains("hunter2"), "{}", said(&ill));
}
