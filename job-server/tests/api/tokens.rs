//! Tokens from the command line to the answer, and what happens without any.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use job_core::{Clock as _, SystemClock};
use job_server::Config;
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Answer, Connection, request, request_bytes};
use crate::process::{command, output, said};
use crate::server::{BODY, JSON, Server};

/// A token file in a directory of its own, changed by the command as an operator would.
#[derive(Debug)]
pub(crate) struct TokenBox {
    directory: TempDir,
    /// How much of the audit log was looked at.
    audit_seen: AtomicU64,
}

impl TokenBox {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), audit_seen: AtomicU64::new(0) }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.directory.path().join("audit")
    }

    /// Runs `job-server token`; answers what it printed on standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output =
            command(&["token"]).args(arguments).env("JOB_SERVICE_TOKENS", self.file()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// A token with `role` for `partition`, or for all of them.
    pub(crate) fn create(&self, role: &str, partition: Option<&str>) -> String {
        match partition {
            Some(partition) => self.run(&["create", "--role", role, "--partition", partition]),
            None => self.run(&["create", "--role", role, "--all-partitions"]),
        }
    }

    /// The id within a token.
    pub(crate) fn id(token: &str) -> &str {
        token.split('_').nth(1).unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        Config { tokens: Some(self.file()), audit_log: Some(self.audit_log()), ..Config::default() }
    }

    pub(crate) async fn server(&self) -> Server {
        Server::with(self.config(), Arc::new(job_store_memory::MemoryStore::new())).await
    }

    /// The records of the audit log since this was last asked for.
    pub(crate) fn newly_audited(&self) -> Vec<Value> {
        let mut log = std::fs::File::open(self.audit_log()).unwrap();
        log.seek(SeekFrom::Start(self.audit_seen.load(Ordering::SeqCst))).unwrap();
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        self.audit_seen.store(log.stream_position().unwrap(), Ordering::SeqCst);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn get_as(server: &Server, authorization: &str, target: &str) -> Answer {
    request(server.address, "GET", target, &[&format!("Authorization: {authorization}")], b"").await
}

#[tokio::test]
async fn a_token_opens_its_partition_until_it_is_revoked() {
    let tokens = TokenBox::new();
    let token = tokens.create("submitter", Some("p"));
    let server = tokens.server().await;
    let bearer = format!("Authorization: Bearer {token}");
    let path = Server::job_path("j");
    let created = request(server.address, "PUT", &path, &[JSON, &bearer], BODY.as_bytes()).await;
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(get_as(&server, &format!("bearer  {token}"), &path).await.status, 200);
    let listed = tokens.run(&["list"]);
    assert!(listed.contains("good until it is revoked") && !listed.contains(&token), "{listed}");
    tokens.run(&["revoke", TokenBox::id(&token)]);
    assert!(tokens.run(&["list"]).contains("revoked 2"));
    let clock = SystemClock::new();
    let begun = clock.now();
    while get_as(&server, &format!("Bearer {token}"), &path).await.status == 200 {
        assert!(clock.now().since(begun).as_secs() < 30, "a revocation holds within 30 s");
    }
}

#[tokio::test]
async fn whoever_is_unknown_is_told_how_to_be_known() {
    let tokens = TokenBox::new();
    tokens.create("reader", Some("p"));
    let server = tokens.server().await;
    let answer = server.get_job("j").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"job-service\""));
    assert!(answer.message().contains("Authorization: Bearer TOKEN"), "{answer:?}");
    for (authorization, expected) in [
        ("Basic dTpw", "expected Bearer TOKEN"),
        ("Bearer", "expected Bearer TOKEN"),
        ("Bearer nothing", "unknown, expired or revoked"),
        ("Bearer \u{e9}", "expected Bearer TOKEN"),
    ] {
        let answer = get_as(&server, authorization, &Server::job_path("j")).await;
        assert_eq!(answer.status, 401, "{authorization}");
        assert!(answer.message().contains(expected), "{authorization}: {answer:?}");
    }
    for open in ["/", "/openapi.yaml", "/job-service/v1/ping", "/health-check"] {
        assert_eq!(get_as(&server, "Bearer nothing", open).await.status, 200, "{open}");
    }
    for open in ["/ping", "/healthcheck"] {
        assert_eq!(request(server.admin, "GET", open, &[], b"").await.status, 200, "{open}");
    }
}

#[tokio::test]
async fn ten_wrong_tokens_a_minute_are_enough() {
    let tokens = TokenBox::new();
    let right = tokens.create("reader", Some("p"));
    let server = tokens.server().await;
    let path = Server::job_path("j");
    for _ in 0..10 {
        assert_eq!(get_as(&server, "Bearer wrong", &path).await.status, 401);
    }
    let refused = get_as(&server, "Bearer wrong", &path).await;
    assert_eq!(refused.status, 429);
    assert!((1..=60).contains(&refused.header("retry-after").unwrap().parse().unwrap()), "{refused:?}");
    assert_eq!(get_as(&server, &format!("Bearer {right}"), &path).await.status, 404, "right ones pass");
    let mut elsewhere = Connection::open_from([127, 0, 0, 9].into(), server.address).await;
    let wrong = ["Authorization: Bearer wrong"];
    elsewhere.send(request_bytes(server.address, "GET", &path, &wrong, b"")).await;
    assert_eq!(elsewhere.answer(false).await.unwrap().status, 401, "others are not concerned");
}

#[tokio::test]
async fn guessing_opens_nothing() {
    use job_core::{IdSource as _, RandomIds};
    let tokens = TokenBox::new();
    let token = tokens.create("admin", None);
    let server = tokens.server().await;
    let id = TokenBox::id(&token);
    // Over one connection, with a good id and guessed secrets.
    let mut connection = Connection::open(server.address).await;
    for _ in 0..200 {
        let mut batch = String::new();
        for _ in 0..10 {
            let guess = RandomIds.next().simple().to_string() + &RandomIds.next().simple().to_string()[..11];
            batch.push_str(&format!(
                "GET {} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer jobsvc_{id}_{guess}\r\n\r\n",
                Server::job_path("j")
            ));
        }
        connection.send(batch).await;
        for _ in 0..10 {
            let answer = connection.answer(false).await.unwrap();
            assert!(matches!(answer.status, 401 | 429), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn workers_ask_by_the_url_they_were_given_and_for_nothing_else() {
    let tokens = TokenBox::new();
    let bearer = format!("Authorization: Bearer {}", tokens.create("submitter", Some("p")));
    let server = tokens.server().await;
    for id in ["j", "other"] {
        let path = Server::job_path(id);
        let created = request(server.address, "PUT", &path, &[JSON, &bearer], BODY.as_bytes()).await;
        assert_eq!(created.status, 201);
    }
    let message = crate::create::first_message(&server, "w-in").await;
    let url = message.tracking.unwrap().status_check_url.unwrap();
    let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    let id = if target.contains("/j/") { ("j", "other") } else { ("other", "j") };
    let answer = server.get(target).await;
    assert_eq!((answer.status, answer.json()), (200, Value::from("Waiting")));
    assert!(answer.header("cache-control").unwrap().contains("max-age"));
    assert_eq!(server.get(&target.replace("/status", "/isActive")).await.json(), Value::from(true));
    let elsewhere = target.replace(&format!("/{}/", id.0), &format!("/{}/", id.1));
    let forged = format!("{}x", &target[..target.len() - 1]);
    for wrong in [&elsewhere, &forged, &target.replace("/p/", "/q/"), &format!("{target}A")] {
        // 404 would tell a worker to throw the task away.
        assert_eq!(server.get(wrong).await.status, 403, "{wrong}");
    }
    let query = target.split_once('?').unwrap().1;
    assert_eq!(server.get(&Server::job_path(&format!("{}?{query}", id.0))).await.status, 401);
    assert_eq!(server.post(&Server::job_path(&format!("{}/cancel?{query}", id.0))).await.status, 401);
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served_and_no_page_of_another_site() {
    let server = Server::start().await;
    let with = |headers: &'static [&'static str]| {
        let bytes = format!("GET {} HTTP/1.1\r\n{}\r\n\r\n", Server::job_path("j"), headers.join("\r\n"));
        crate::client::raw(server.address, bytes)
    };
    for headers in [&["Host: localhost"][..], &["Host: 127.0.0.1:1", "Origin: http://127.0.0.1:1"]] {
        assert_eq!(with(headers).await.unwrap().status, 404, "{headers:?}");
    }
    for (headers, expected) in [
        (&["Host: evil.example"][..], "only names of this machine"),
        (&["Host: localhost", "Origin: http://evil.example"], "pages of other sites"),
        (&["Host: localhost", "Sec-Fetch-Site: cross-site"], "pages of other sites"),
    ] {
        let answer = with(headers).await.unwrap();
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(answer.message().contains(expected), "{answer:?}");
    }
    let config =
        Config { listen: "0.0.0.0:0".parse().unwrap(), allow_unauthenticated: true, ..Config::default() };
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let reached = format!("GET {} HTTP/1.1\r\nHost: jobs.example\r\n\r\n", Server::job_path("j"));
    let address = ([127, 0, 0, 1], server.address.port()).into();
    assert_eq!(crate::client::raw(address, reached).await.unwrap().status, 404);
}

#[test]
fn wrong_commands_are_explained_and_change_nothing() {
    let tokens = TokenBox::new();
    let file = tokens.file().display().to_string();
    let with_file = |arguments: &[&str]| {
        let output = output(&[&["token"], arguments, &["--tokens", &file]].concat());
        (output.status.code(), said(&output))
    };
    for (arguments, expected) in [
        (&["list"][..], "token create"),
        (&["create", "--role", "king", "--partition", "p"], "reader, submitter, operator, admin"),
        (&["create", "--role", "reader"], "--partition"),
        (&["create", "--role", "reader", "--partition", "a.b"], "invalid characters"),
        (&["create", "--role", "reader", "--all-partitions", "--expires-in", "soon"], "such as 90d"),
        (&["revoke", "00000000"], "no token has the id"),
    ] {
        let (code, said) = with_file(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    assert!(!tokens.file().exists());
    let (code, said) =
        with_file(&["create", "--role", "reader", "--all-partitions", "--expires-in", "90d", "--name", "x"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("jobsvc_") && said.contains("good until 2"), "{said}");
    let kept = std::fs::read_to_string(tokens.file()).unwrap();
    assert!(!kept.contains("jobsvc_"), "only hashes are kept: {kept}");
}

#[test]
fn a_server_does_not_start_on_tokens_it_cannot_read() {
    let missing = output(&["serve", "--listen", "127.0.0.1:0", "--tokens", "/nowhere/tokens"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("job-server token create"), "{}", said(&missing));
    let short =
        command(&["serve", "--listen", "127.0.0.1:0"]).env("JOB_SERVICE_SECRET", "hunter2").output().unwrap();
    assert_eq!(short.status.code(), Some(2));
    assert!(said(&short).contains("at least 32") && !said(&short).contains("hunter2"), "{}", said(&short));
}
