//! The binary on a real database and a real broker: the schema commands, and demos that are killed and go on.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use testkit::TestDatabase;

const TEXTS: usize = 1_500;
const TEXT: &str =
    "Der Wind kam von Westen, und niemand wollte heute noch einmal auf das Wasser hinausfahren.";

async fn empty_database() -> TestDatabase {
    TestDatabase::create("empty", async |_: &str| anyhow::Ok(())).await.unwrap()
}

async fn migrated_database() -> TestDatabase {
    let database = empty_database().await;
    let (code, _, stderr) = run(&mut job_server(&["migrate", "--store", database.url()]));
    assert_eq!(code, Some(0), "{stderr}");
    database
}

fn job_server(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_job-server"));
    command.args(arguments);
    command
}

/// The exit code, what was printed, and what was complained about.
fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Starts a demo and kills it as soon as this job has come further. However fast the machine is, it is not at its end
/// then: until the kill the database refuses, as transient, to let it complete.
async fn kill_midway(demo: &mut Command, job: &str, database: &TestDatabase) {
    let cannot_complete = format!(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'it may not complete yet' USING ERRCODE = 'serialization_failure'; END $$;
         CREATE TRIGGER cannot_complete BEFORE UPDATE ON job FOR EACH ROW
             WHEN (NEW.job_id = '{job}' AND NEW.finish_time IS NOT NULL) EXECUTE FUNCTION refuse();"
    );
    database.run(&cannot_complete).await.unwrap();
    let mut child = demo.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let further = lines
        .find(|line| line.starts_with(job) && line.contains("Active") && !line.contains(" 0.00%"))
        .expect("it ended before it could be killed");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!further.contains("100.00%"), "{further}");
    database.run("DROP FUNCTION refuse CASCADE").await.unwrap();
}

fn write_texts(directory: &Path) {
    for number in 0..TEXTS {
        fs::write(directory.join(format!("{number:04}.txt")), TEXT).unwrap();
    }
}

/// A demo on texts, killed while it counts words, finishes the same jobs when it is started again.
async fn texts_survive(database: &TestDatabase, services: &[&str]) {
    let texts = tempfile::tempdir().unwrap();
    let place = tempfile::tempdir().unwrap();
    write_texts(texts.path());
    let demo = || {
        let mut demo = job_server(&["demo"]);
        demo.arg(texts.path()).args(services).current_dir(place.path());
        demo
    };
    kill_midway(&mut demo(), "count", database).await;
    let (code, stdout, stderr) = run(&mut demo());
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("Going on with the jobs of a demo that was killed"), "{stdout}");
    assert!(stdout.contains("1,500 texts, 1 languages, 22,500 words"), "{stdout}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");
    let (code, stdout, stderr) = run(&mut demo());
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(!stdout.contains("Going on"), "a demo that is over is not gone on with: {stdout}");
}

/// The same for generated items, of which none may be lost.
async fn items_survive(database: &TestDatabase, services: &[&str]) {
    let demo = || {
        let mut demo = job_server(&["demo", "--synthetic", "20000"]);
        demo.args(services);
        demo
    };
    kill_midway(&mut demo(), "synthetic", database).await;
    let (code, stdout, stderr) = run(&mut demo());
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("Going on with") && stdout.contains("21 of 21 subtasks"), "{stdout}");
}

/// What is stored contradicts itself nowhere.
fn is_sound(database: &TestDatabase) {
    let (code, stdout, stderr) =
        run(&mut job_server(&["verify", "--partition", "demo", "--store", database.url()]));
    assert_eq!((code, stdout.as_str()), (Some(0), "Nothing contradicts itself.\n"), "{stderr}");
}

// One test for both demos: their queues have the same names on every broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_demo_on_a_database_and_a_broker_goes_on() {
    let database = migrated_database().await;
    let services = ["--store", database.url(), "--queue", testkit::rabbit().unwrap()];
    texts_survive(&database, &services).await;
    is_sound(&database);
    items_survive(&database, &services).await;
    is_sound(&database);
}

/// What was in the queue is lost with the process, and is made again from what the database knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_demo_on_a_database_alone_goes_on() {
    let database = migrated_database().await;
    texts_survive(&database, &["--store", database.url()]).await;
    is_sound(&database);
    items_survive(&database, &["--store", database.url()]).await;
    is_sound(&database);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_made_checked_and_printed() {
    let database = empty_database().await;
    let on = |arguments: &[&str]| run(job_server(arguments).args(["--store", database.url()]));
    let (code, _, stderr) = on(&["migrate", "validate"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("has schema version 0") && stderr.contains("run the migration"), "{stderr}");
    let (code, stdout, stderr) = on(&["migrate"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("Applied version 1: jobs\n"), "{stdout}");
    let (code, again, _) = on(&["migrate"]);
    assert_eq!((code, again.lines().count()), (Some(0), 1), "{again}");
    assert_eq!(on(&["migrate", "validate"]), (Some(0), again, String::new()));
    let (code, script, _) = run(&mut job_server(&["migrate", "--print"]));
    assert_eq!(code, Some(0));
    assert!(script.starts_with("BEGIN;") && script.ends_with("COMMIT;\n"), "{script}");
    let (code, _, stderr) = run(&mut job_server(&["migrate"]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("no database is named: say --store postgres://"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_schemas_apart() {
    let database = empty_database().await;
    let doctor = |arguments: &[&str]| {
        let (code, stdout, stderr) = run(job_server(&["doctor", "--store", database.url()]).args(arguments));
        assert!(stderr.is_empty(), "{stderr}");
        (code, stdout)
    };
    let (code, older) = doctor(&[]);
    assert!(code == Some(0) && older.contains("note   schema") && older.contains("version 0"), "{older}");
    let (code, older) = doctor(&["--no-migrate"]);
    assert!(
        code == Some(1) && older.contains("WRONG  schema") && older.contains("job-server migrate"),
        "{older}"
    );
    assert_eq!(run(&mut job_server(&["migrate", "--store", database.url()])).0, Some(0));
    let (code, fits) = doctor(&[]);
    assert!(code == Some(0) && fits.contains("ok     schema") && fits.contains("outbox"), "{fits}");
    database.run("INSERT INTO job_schema_version VALUES (99, 'later', 'x')").await.unwrap();
    let (code, newer) = doctor(&[]);
    assert!(code == Some(1) && newer.contains("use a newer program"), "{newer}");
    database.run("DELETE FROM job_schema_version WHERE version = 99").await.unwrap();
    database.run("UPDATE job_schema_version SET checksum = 'x' WHERE version = 2").await.unwrap();
    let (code, other) = doctor(&[]);
    assert!(code == Some(1) && other.contains("schema version 2 of the database differs"), "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_jobs_are_pruned() {
    let database = empty_database().await;
    let place = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) =
        run(job_server(&["demo", "--store", database.url()]).current_dir(place.path()));
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let prune = |arguments: &[&str]| {
        let (code, stdout, stderr) =
            run(job_server(&["prune", "--store", database.url(), "--older-than"]).args(arguments));
        (code, stdout + &stderr)
    };
    assert_eq!(prune(&["1d"]), (Some(0), "0 jobs removed.\n".to_owned()));
    assert_eq!(prune(&["0s", "--partition", "other"]).1, "0 jobs removed.\n");
    assert_eq!(prune(&["0s", "--status", "Failed", "--step", "1"]).1, "1 jobs removed.\n");
    assert_eq!(prune(&["0s"]).1, "3 jobs removed.\n");
    let (code, sentence) = prune(&["0s", "--status", "Active"]);
    assert_eq!(code, Some(2));
    assert!(sentence.contains("a job that is Active is not finished"), "{sentence}");
    is_sound(&database);
}
