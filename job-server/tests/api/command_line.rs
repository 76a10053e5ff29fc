//! The command `job`, as a program that talks to a server.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use job_core::progress::{Percentage, ReportEvent};
use job_core::store::Action;
use job_core::{Clock as _, Failure, JobKey, SystemClock, Timestamp};
use serde_json::{Value, json};

use job_server::{Config, Limits};

use crate::client::soon;
use crate::server::{BODY, Server};
use crate::tls::Pair;

/// Runs `job-server job ...` beside the server, with `input` on its standard input.
async fn run(server: &Server, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_job-server"));
    let url = format!("http://{}", server.address);
    command.env_clear().args(["job", "--server", &url, "--partition", "p"]).args(arguments);
    let input = input.to_owned();
    soon(async {
        let running = job_core::Shutdown::new().spawn_blocking(move || {
            let mut child =
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            // It may end without reading.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            child.wait_with_output().unwrap()
        });
        running.await.unwrap()
    })
    .await
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What a command printed that ended well.
async fn good(server: &Server, arguments: &[&str]) -> String {
    let output = run(server, arguments, "").await;
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn failure(message: &str) -> ReportEvent {
    ReportEvent::Failed(Failure {
        id: "RESULT_EXCEPTION".into(),
        time: Timestamp::from_millis(1_700_000_000_123),
        source: "W".into(),
        message: message.into(),
    })
}

#[tokio::test]
async fn a_job_is_created_from_input_or_a_file_and_shown() {
    let server = Server::start().await;
    let body = BODY.replacen('{', r#"{"name":"N\u001b[31m","labels":{"team":"blue"},"#, 1);
    let output = run(&server, &["create", "j/1"], &body).await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "j/1 created\n"));
    let output = run(&server, &["create", "j/1", "--file", "-"], &body).await;
    assert_eq!(stdout(&output), "j/1 was created before by the same request\n");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(BODY.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(good(&server, &["create", "j2", "--file", path]).await, "j2 created\n");
    let shown = good(&server, &["get", "j/1"]).await;
    assert!(shown.contains("job           j/1\n") && shown.contains("status        Waiting\n"), "{shown}");
    assert!(shown.contains("label         team=blue\n"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "no escape sequence reaches a terminal: {shown:?}");
    let json: Value = serde_json::from_str(&good(&server, &["get", "j/1", "--json"]).await).unwrap();
    assert_eq!(json["labels"], json!({"team": "blue"}));
}

#[tokio::test]
async fn jobs_are_listed_filtered_and_followed_over_pages() {
    let server = Server::start().await;
    for number in 0..30 {
        server.create(&format!("j{number:02}")).await;
    }
    let listed = good(&server, &["list", "--sort", "jobId:asc"]).await;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2 + 25);
    assert!(
        lines[0].starts_with("JOB") && lines[2].starts_with("j00") && lines[2].contains("Waiting"),
        "{listed}"
    );
    let filtered =
        good(&server, &["list", "--filter", "id=in=(j01,j29)", "--sort", "jobId:desc", "--json"]).await;
    let jobs: Value = serde_json::from_str(&filtered).unwrap();
    let ids: Vec<_> = jobs.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["j29", "j01"]);
    let all =
        good(&server, &["list", "--limit", "2000", "--prefix", "j", "--status-type", "NotFinished"]).await;
    assert_eq!(all.lines().count(), 2 + 30);
}

#[tokio::test]
async fn jobs_are_controlled_by_name_and_by_selection() {
    let server = Server::start().await;
    for id in ["a", "b", "c", "d"] {
        server.create(id).await;
    }
    assert_eq!(good(&server, &["pause", "a", "b"]).await, "a paused\nb paused\n");
    assert_eq!(server.get_job("a").await.json()["status"], "Paused");
    assert_eq!(good(&server, &["resume", "a"]).await, "a resumed\n");
    assert_eq!(good(&server, &["cancel", "a"]).await, "a cancelled\n");
    assert_eq!(good(&server, &["cancel", "--filter", "id==c"]).await, "1 job cancelled\n");
    assert_eq!(good(&server, &["delete", "d"]).await, "d deleted\n");
    for wrong in ["--label=", "--label=,", "--label=a b", "--prefix=", "--filter="] {
        let refused = run(&server, &["delete", wrong], "").await;
        assert_eq!((refused.status.code(), stdout(&refused)), (Some(2), String::new()), "{wrong}");
    }
    let some = run(&server, &["resume", "none", "b", "nobody"], "").await;
    assert_eq!((some.status.code(), stdout(&some)), (Some(2), "b resumed\n".to_owned()));
    for left in ["none: ", "nobody: "] {
        assert!(stderr(&some).contains(left), "{}", stderr(&some));
    }
    assert!(good(&server, &["--help"]).await.contains("Exit codes: 0 when it was done"));
    assert_eq!(good(&server, &["delete", "--all"]).await, "3 jobs deleted\n");
    let nothing = run(&server, &["delete"], "").await;
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("required arguments"), "{}", stderr(&nothing));
}

#[tokio::test]
async fn waiting_ends_with_the_job_and_its_exit_code_says_how() {
    let server = Server::start().await;
    for id in ["completes", "fails", "stops", "stays"] {
        server.create(id).await;
    }
    let waiting = run(&server, &["wait", "completes"], "");
    let completing = server.report("completes", "", ReportEvent::Complete);
    let (output, ()) = tokio::join!(waiting, completing);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(0), "completes is Completed\n"));
    server.report("fails", ".1", failure("no")).await;
    let output = run(&server, &["wait", "fails"], "").await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), "fails is Failed\n"));
    assert_eq!(stderr(&output), "W: no\n");
    let key = JobKey::parse("p", "stops").unwrap();
    server.store.act(&key, Action::Cancel, SystemClock::new().now()).await.unwrap();
    assert_eq!(good(&server, &["wait", "stops"]).await, "stops is Cancelled\n");
    let output = run(&server, &["wait", "stays", "--timeout", "0"], "").await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("stays is still Waiting"), "{}", stderr(&output));
    let output = run(&server, &["create", "stays", "--wait", "--timeout", "0", "--json"], BODY).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn progress_failures_and_graphs_are_shown() {
    let server = Server::start().await;
    server.create("j").await;
    for task in [".1", ".2.1", ".2.2"] {
        server.report("j", task, ReportEvent::Complete).await;
    }
    server.report("j", ".3", failure("first line\nsecond")).await;
    server.report("j", ".4*", ReportEvent::Progress(Percentage::from_number(50.0).unwrap())).await;
    let tree = good(&server, &["tree", "j"]).await;
    assert!(tree.starts_with("j  Failed"), "{tree}");
    assert!(tree.contains("\n  2  66.67%  2 of ?\n    2.1  100.00%\n    2.2  100.00%\n"), "{tree}");
    assert!(tree.contains("\n  3  0.00%    failed\n"), "{tree}");
    assert!(good(&server, &["tree", "j", "--limit", "2"]).await.ends_with("  ...\n"));
    let failures = good(&server, &["failures", "j"]).await;
    assert!(failures.contains("2023-11-14T22:13:20.123Z"), "{failures}");
    assert!(failures.contains("first line\u{fffd}second"), "{failures}");
    let body = BODY.replacen('{', r#"{"prerequisiteJobIds":["j2","none"],"#, 1);
    server.create("j2").await;
    server.put("k", &body).await;
    let graph = good(&server, &["graph", "k"]).await;
    assert!(graph.contains("Waiting     0.00%  j2, none\n") && graph.contains("none  missing"), "{graph}");
}

#[tokio::test]
async fn what_cannot_be_done_is_said_and_ends_with_2() {
    let server = Server::start().await;
    for (arguments, input, expected) in [
        (&["get", "none"][..], "", "job_id {none} not found"),
        (&["wait", "none"], "", "job_id {none} not found"),
        (&["get", "a*"], "", "The job identifier contains one or more invalid characters."),
        (&["get", ""], "", "a value is required for '<ID>'"),
        (&["delete", ""], "", "a value is required for '[IDS]...'"),
        (&["create", "j"], "{", "Unable to process JSON"),
        (&["create", "j", "--file", "/none/such"], "", "--file: /none/such cannot be read"),
        (&["list", "--filter", "size==1"], "", "Unsupported filter key specified: size"),
        (&["list", "--server", "ftp://h"], "", "expected http[s]://HOST"),
        (
            &["list", "--server", "http://jobs.example", "--token", "t"],
            "",
            "--server: \"http://jobs.example\" is not encrypted: whoever listens on the way could use the token",
        ),
        (&["list", "--server", "http://me:secret@localhost"], "", "--server names a user"),
        (
            &["list", "--server", "https://127.0.0.1:1", "--ca-file", "/none/such"],
            "",
            "--ca-file: /none/such cannot be read as certificates in PEM",
        ),
        (&["list", "--server", "http://127.0.0.1:1"], "", "cannot be reached"),
        (&["list", "--token", "a\nb"], "", "--token holds characters"),
        (&["frobnicate"], "", "unrecognized subcommand"),
    ] {
        let output = run(&server, arguments, input).await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
        assert!(stdout(&output).is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_partition_that_has_all_its_jobs_is_said_to_and_ends_with_2() {
    let limits = Limits { live_jobs_max: 1, ..Limits::default() };
    let store = std::sync::Arc::new(job_store_memory::MemoryStore::new());
    let server = Server::with(Config { limits, ..Config::default() }, store).await;
    server.create("a").await;
    let output = run(&server, &["create", "b"], BODY).await;
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    assert!(stderr(&output).contains("has 1 live (unfinished) jobs"), "{}", stderr(&output));
}

#[tokio::test]
async fn https_is_spoken_with_servers_that_are_vouched_for() {
    let (pair, other) = (Pair::new(), Pair::new());
    let config = Config { tls: Some(pair.files()), ..Config::default() };
    let server = Server::with(config, std::sync::Arc::new(job_store_memory::MemoryStore::new())).await;
    server.create("j").await;
    let url = format!("https://localhost:{}", server.https.unwrap().port());
    let ask = async |trusted: &std::path::Path, url: &str| {
        let trusted = trusted.to_str().unwrap();
        run(&server, &["list", "--server", url, "--token", "t", "--ca-file", trusted], "").await
    };
    let output = ask(&pair.files().certificate, &url).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("\nj    Waiting"), "{}", stdout(&output));
    let output = ask(&other.files().certificate, &url).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot be trusted"), "{}", stderr(&output));
    // The certificate is for localhost.
    let output = ask(&pair.files().certificate, &url.replace("localhost", "127.0.0.1")).await;
    assert!(stderr(&output).contains("cannot be trusted"), "{}", stderr(&output));
    let output = ask(&pair.files().key, &url).await;
    assert!(stderr(&output).contains("holds no certificate in PEM"), "{}", stderr(&output));
}

#[tokio::test]
async fn nobody_has_to_read_to_the_end() {
    let server = Server::start().await;
    for number in 0..200 {
        server.create(&format!("j{number}")).await;
    }
    for rest in ["job list --limit 1000 --json", "--help"] {
        let script =
            format!("'{}' {rest} | head -n 1; exit ${{PIPESTATUS[0]}}", env!("CARGO_BIN_EXE_job-server"));
        let url = format!("http://{}", server.address);
        let mut command = Command::new("bash");
        command.env("JOB_SERVICE_URL", url).env("JOB_SERVICE_PARTITION", "p").args(["-c", &script]);
        let running = job_core::Shutdown::new().spawn_blocking(move || command.output().unwrap());
        let output = soon(running).await.unwrap();
        // All of it may have fitted into the pipe.
        assert!(matches!(output.status.code(), Some(0 | 141)), "{rest}: {:?}", output.status);
        assert!(stderr(&output).is_empty(), "{rest}: {}", stderr(&output));
        assert_eq!(stdout(&output).lines().count(), 1);
    }
}
