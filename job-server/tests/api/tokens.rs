//! Tokens from the command line to the answer, and what happens without any.

use std::path::PathBuf;
use std::sync::Arc;

use job_core::{Clock as _, SystemClock};
use job_server::{Config, Limits};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Answer, Connection, raw, request, request_bytes, soon};
use crate::process::{command, output, said};
use crate::server::{BODY, JSON, Server};

/// A token file in a directory of its own, changed by the command as an operator would.
#[derive(Debug)]
pub(crate) struct TokenBox {
    directory: TempDir,
}

impl TokenBox {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
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

    /// The records of the audit log, all of which are there once the server has stopped.
    pub(crate) fn audited(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.audit_log()).unwrap();
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
async fn changes_without_any_token_fill_no_audit_log() {
    let tokens = TokenBox::new();
    tokens.create("reader", Some("p"));
    let server = tokens.server().await;
    let mut statuses = Vec::new();
    for query in ["", "?%zz"].repeat(10) {
        let path = Server::job_path("j") + query;
        statuses.push(request(server.address, "DELETE", &path, &[], b"").await.status);
    }
    assert_eq!(statuses, [[401; 10], [429; 10]].concat());
    assert_eq!(server.get_job("j").await.status, 401, "what changes nothing is not counted");
    server.shutdown.stop();
    assert!(soon(server.running).await.unwrap());
    let records = tokens.audited();
    assert_eq!(records.len(), 10, "{records:?}");
    assert!(records.iter().all(|record| record["operation"] == "deleteJob" && record["status"] == 401));
}

/// A log that is a pipe nobody reads stands for a disk that does not answer.
#[cfg(unix)]
#[tokio::test]
async fn a_disk_that_does_not_answer_holds_up_no_thread_and_loses_no_record() {
    use std::io::Read as _;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("audit");
    assert!(std::process::Command::new("mkfifo").arg(&log).status().unwrap().success());
    let both_ways = std::fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    let mut reader = std::fs::File::open(&log).unwrap();
    let config = Config { audit_log: Some(log), ..Config::default() };
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let mut connection = Connection::open(server.address).await;
    // Far more than a pipe takes.
    let path = Server::job_path(&"j".repeat(40));
    for _ in 0..600 {
        connection.send(format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        assert_eq!(connection.answer(false).await.unwrap().status, 404);
    }
    let reading = job_core::Shutdown::new().spawn_blocking(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    server.shutdown.stop();
    assert!(soon(server.running).await.unwrap());
    drop(both_ways);
    let text = soon(reading).await.unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"deleteJob\"")).count(), 600);
}

/// A server of another user reads the file, and may reach it by a link.
#[cfg(unix)]
#[test]
fn a_replaced_file_keeps_its_owner_its_mode_and_its_place() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let tokens = TokenBox::new();
    let token = tokens.create("reader", Some("p"));
    let place = tokens.directory.path().join("elsewhere");
    std::fs::create_dir(&place).unwrap();
    let real = place.join("real");
    std::fs::rename(tokens.file(), &real).unwrap();
    std::os::unix::fs::symlink(&real, tokens.file()).unwrap();
    std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
    // Only root may give files away; for others this shows the mode and the link alone.
    let _ = std::os::unix::fs::chown(&real, Some(4_321), Some(1_234));
    let kept = |metadata: &std::fs::Metadata| (metadata.uid(), metadata.gid(), metadata.mode());
    let before = std::fs::metadata(&real).unwrap();
    tokens.run(&["revoke", TokenBox::id(&token)]);
    let after = std::fs::metadata(&real).unwrap();
    assert_eq!(kept(&after), kept(&before));
    assert_ne!(after.ino(), before.ino(), "it was replaced as a whole");
    assert!(std::fs::symlink_metadata(tokens.file()).unwrap().is_symlink());
    assert!(tokens.run(&["list"]).contains("revoked 2"));
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
async fn a_process_that_only_dispatches_needs_the_secret_and_no_tokens() {
    use job_core::Shutdown;
    use job_server::{App, Secret};
    let tokens = TokenBox::new();
    let bearer = format!("Authorization: Bearer {}", tokens.create("submitter", Some("p")));
    let secret = Some(Secret::parse(&"s".repeat(32)).unwrap());
    let config = Config { secret: secret.clone(), roles: "api".parse().unwrap(), ..tokens.config() };
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let config = Config {
        secret,
        roles: "dispatcher".parse().unwrap(),
        service_url: Some(format!("http://{}/job-service/v1", server.address)),
        ..Config::default()
    };
    let (store, queue) = (Arc::clone(&server.store), Arc::clone(&server.queue));
    let dispatching = App::build(config, store, queue).await.unwrap();
    let stop = Shutdown::new();
    let running = stop.spawn(dispatching.run(stop.clone()));
    let path = Server::job_path("j");
    let created = request(server.address, "PUT", &path, &[JSON, &bearer], BODY.as_bytes()).await;
    assert_eq!(created.status, 201);
    let message = crate::create::first_message(&server, "w-in").await;
    let url = message.tracking.unwrap().status_check_url.unwrap();
    let target = url.strip_prefix(&format!("http://{}", server.address)).unwrap();
    assert_eq!(server.get(target).await.status, 200, "{url}");
    stop.stop();
    assert!(soon(running).await.unwrap());
}

#[tokio::test]
async fn without_tokens_only_this_machine_is_served_and_no_page_of_another_site() {
    let server = Server::start().await;
    let with = |headers: &'static [&'static str]| {
        let bytes = format!("GET {} HTTP/1.1\r\n{}\r\n\r\n", Server::job_path("j"), headers.join("\r\n"));
        raw(server.address, bytes)
    };
    for headers in [&["Host: localhost"][..], &["Host: 127.0.0.1:1", "Origin: http://127.0.0.1:1"]] {
        assert_eq!(with(headers).await.unwrap().status, 404, "{headers:?}");
    }
    for (headers, expected) in [
        (&["Host: evil.example"][..], "only to names of this machine"),
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
    assert_eq!(raw(address, reached).await.unwrap().status, 404);
}

#[tokio::test]
async fn what_only_this_machine_reaches_answers_to_none_but_its_names() {
    let asked = |address, target: &'static str, host: &'static str| {
        raw(address, format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    };
    // The admin address is for others too, and that of the API is not.
    let store = || Arc::new(job_store_memory::MemoryStore::new());
    let admin_listen = Some("0.0.0.0:0".parse().unwrap());
    let config = Config { admin_listen, allow_unauthenticated: true, ..Config::default() };
    let open = Server::with(config, store()).await;
    let jobs = "/job-service/v1/partitions/p/jobs";
    for target in [jobs, "/health-check", "/openapi.yaml", "/job-service-ui/"] {
        let refused = asked(open.address, target, "evil.example").await.unwrap();
        assert_eq!(refused.status, 403, "{target}");
        assert!(refused.message().contains("names of this machine"), "{refused:?}");
    }
    let admin = ([127, 0, 0, 1], open.admin.port()).into();
    assert_eq!(asked(admin, "/metrics", "jobs.example").await.unwrap().status, 200);
    // Probes name an address, or nothing at all.
    for host in ["10.1.2.3:8080", "[2001:db8::1]", "localhost", "127.0.0.1"] {
        assert_eq!(asked(open.address, "/health-check", host).await.unwrap().status, 200, "{host}");
        assert_eq!(asked(open.address, "/job-service/v1/ping", host).await.unwrap().status, 200, "{host}");
        let status = "/job-service/v1/partitions/p/jobs/j/status";
        assert_eq!(asked(open.address, status, host).await.unwrap().status, 404, "{host}");
    }
    let old = raw(open.address, "GET /health-check HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(old.status, 200);
    // With tokens, only what is more than public is kept from pages: a proxy may name the service as it likes.
    let tokens = TokenBox::new();
    tokens.create("reader", Some("p"));
    let server = tokens.server().await;
    assert_eq!(asked(server.address, "/health-check", "jobs.example").await.unwrap().status, 200);
    for server in [&server, &Server::start().await] {
        for target in ["/metrics", "/healthcheck"] {
            assert_eq!(asked(server.admin, target, "evil.example").await.unwrap().status, 403, "{target}");
            assert_eq!(asked(server.admin, target, "10.1.2.3").await.unwrap().status, 200, "{target}");
            assert_eq!(asked(server.admin, target, "localhost").await.unwrap().status, 200, "{target}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_used_too_fast_is_told_to_wait() {
    let tokens = TokenBox::new();
    let (hasty, other) = (tokens.create("reader", Some("p")), tokens.create("reader", Some("p")));
    let limits = Limits { token_rate_max: 1, ..Limits::default() };
    let config = Config { limits, ..tokens.config() };
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let read_as =
        async |token: &str| get_as(&server, &format!("Bearer {token}"), &Server::job_path("j")).await;
    let refused = soon(async {
        loop {
            let answer = read_as(&hasty).await;
            if answer.status != 404 {
                return answer;
            }
        }
    })
    .await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert!(refused.message().contains("with this token"), "{refused:?}");
    assert_eq!(read_as(&other).await.status, 404, "it concerns no other token");
}

#[tokio::test]
async fn whoever_collects_metrics_from_another_machine_says_who_it_is() {
    let tokens = TokenBox::new();
    let of_all = tokens.create("reader", None);
    let of_one = tokens.create("admin", Some("p"));
    let config = Config { admin_listen: Some("0.0.0.0:0".parse().unwrap()), ..tokens.config() };
    let server = Server::with(config, Arc::new(job_store_memory::MemoryStore::new())).await;
    let admin = ([127, 0, 0, 1], server.admin.port()).into();
    let metrics_as = async |token: &str| {
        let bearer = format!("Authorization: Bearer {token}");
        request(admin, "GET", "/metrics", &[&bearer], b"").await.status
    };
    let unknown = request(admin, "GET", "/metrics", &[], b"").await;
    assert_eq!((unknown.status, unknown.header("www-authenticate").is_some()), (401, true), "{unknown:?}");
    assert_eq!(metrics_as(&of_one).await, 403, "they are about all partitions");
    assert_eq!(metrics_as(&of_all).await, 200);
    // Probes know no tokens.
    for target in ["/ping", "/healthcheck"] {
        assert_eq!(request(admin, "GET", target, &[], b"").await.status, 200, "{target}");
    }
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
