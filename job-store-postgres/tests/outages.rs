//! A database that can be reached and cannot be written: calls say so, reads go on, and nobody has to restart anything.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use job_conformance::store::fixture::{
    ANNE, LEASE, accept, assert_sound, at, complete, create, dispatch, finish, job, read, record, status,
};
use job_core::store::{ClaimRequest, Claimed, JobStore};
use job_core::{Clock, Error, JobStatus, SystemClock};
use job_store_postgres::{PostgresOptions, PostgresStore};
use testkit::PostgresServer;

const PATIENCE: Duration = Duration::from_secs(60);

async fn server() -> PostgresServer {
    tokio::task::spawn_blocking(|| PostgresServer::start().expect("a server")).await.expect("no panic")
}

/// A store that tries once.
async fn store(server: &PostgresServer, database: &str) -> PostgresStore {
    // One session: of several that began read-only, each shows it once to a store that may not try again.
    let options = PostgresOptions::new(&server.url(database)).expect("a URL");
    let options = options.with_retry_limit(Duration::ZERO).with_pool_size(1);
    let store = PostgresStore::connect(options, Arc::new(SystemClock::new())).await.expect("a store");
    store.migrate().await.expect("the migration");
    store
}

/// Creates jobs under ever new names until `is_over` says so of the answer.
async fn create_until(
    store: &PostgresStore,
    name: &str,
    size: usize,
    is_over: impl Fn(&Result<(), Error>) -> bool,
) {
    let clock = SystemClock::new();
    let deadline = clock.now().saturating_add(PATIENCE);
    for number in 0.. {
        let mut new = job(&format!("{name}-{number}"));
        // What does not compress takes the space that it seems to take.
        new.task.data =
            (0..size).map(|place| (((place * place) >> 7) ^ (place * number)) as u8).collect::<Bytes>();
        let answer = store.create(vec![accept(new)], at(1)).await.map(drop);
        if is_over(&answer) {
            return;
        }
        assert!(clock.now() < deadline, "still {answer:?}");
    }
}

/// Every call that writes fails for a passing reason that names the cause; calls that read answer.
async fn writes_fail_and_reads_answer(store: &PostgresStore, cause: &str) {
    let refused = |error: Error| {
        assert!(error.is_transient(), "{error:?}");
        assert!(error.message().contains(cause), "{error:?}");
    };
    refused(store.record(&[complete("running", ".2")], at(3)).await.expect_err("no write"));
    refused(store.create(vec![accept(job("new"))], at(3)).await.expect_err("no write"));
    let several = vec![accept(job("new")), accept(job("newer"))];
    refused(store.create(several, at(3)).await.expect_err("no write"));
    refused(claim(store).await.expect_err("no write"));
    assert_eq!(read(store, "running").await.subtasks.completed, 1);
    assert_eq!(status(store, "running").await, JobStatus::Active);
    store.ping().await.expect("it can be reached");
}

async fn claim(store: &PostgresStore) -> Result<Claimed, Error> {
    store
        .claim(ClaimRequest { owner: ANNE, now: at(3), lease: LEASE, limit: 1, bytes_limit: usize::MAX })
        .await
}

async fn everything_works(store: &PostgresStore) {
    record(store, &[complete("running", ".2")], 4).await;
    assert_eq!(read(store, "running").await.subtasks.completed, 2);
    create(store, [job("after"), job("wards")], 4).await;
    finish(store, "after", 5).await;
    assert_sound(store).await;
}

async fn with_a_running_job(store: &PostgresStore) {
    create(store, [job("running")], 1).await;
    dispatch(store, 1).await;
    record(store, &[complete("running", ".1")], 2).await;
}

#[tokio::test]
async fn a_database_that_becomes_read_only_is_said_to_be_and_comes_back() {
    let server = server().await;
    let store = store(&server, "postgres").await;
    with_a_running_job(&store).await;
    let switch = |to: &str| {
        server
            .sql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {to}"))
            .expect("a setting");
        server.sql("postgres", "SELECT pg_reload_conf()").expect("it is read");
    };
    switch("on");
    create_until(&store, "before", 10, Result::is_err).await;
    writes_fail_and_reads_answer(&store, "read-only").await;
    switch("off");
    create_until(&store, "back", 10, Result::is_ok).await;
    everything_works(&store).await;
}

/// As with a standby that takes over: sessions from before stay what they were.
#[tokio::test]
async fn sessions_that_began_read_only_are_not_kept() {
    let server = server().await;
    server.sql("postgres", "CREATE DATABASE jobs").expect("a database");
    let store = store(&server, "jobs").await;
    with_a_running_job(&store).await;
    server.sql("postgres", "ALTER DATABASE jobs SET default_transaction_read_only = on").expect("a setting");
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'jobs'";
    server.sql("postgres", others).expect("they end");
    let is_read_only = |answer: &Result<(), Error>| {
        answer.as_ref().is_err_and(|error| error.message().contains("read-only"))
    };
    create_until(&store, "before", 10, is_read_only).await;
    writes_fail_and_reads_answer(&store, "read-only").await;
    server.sql("postgres", "ALTER DATABASE jobs RESET default_transaction_read_only").expect("a setting");
    // The session in the pool is from before; its first refusal is its last.
    claim(&store).await.expect_err("a session from before");
    claim(&store).await.expect("a new session");
    create_until(&store, "back", 10, Result::is_ok).await;
    everything_works(&store).await;
}

/// A small file system of its own for a database.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` when this process may not mount anything.
    fn mount(server: &PostgresServer) -> Option<Self> {
        let directory = server.directory().join("small");
        fs::create_dir(&directory).expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
            .arg(&directory)
            .output()
            .is_ok_and(|output| output.status.success());
        let disk = mounted.then(|| Self(directory))?;
        let owner = fs::metadata(server.directory().join("data")).expect("the server's data");
        chown(&disk.0, Some(owner.uid()), Some(owner.gid())).expect("a new owner");
        Some(disk)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn fill(&self) {
        let mut piece = 1 << 20;
        let mut files = 0;
        // The last pages go one by one.
        while piece >= 4096 {
            let file = self.0.join(format!("ballast-{files}"));
            match fs::write(&file, vec![1; piece]) {
                Ok(()) => files += 1,
                Err(_) => {
                    fs::remove_file(&file).expect("what was half written");
                    piece /= 16;
                }
            }
        }
    }

    fn free(&self) {
        for entry in fs::read_dir(&self.0).expect("it is there") {
            let path = entry.expect("an entry").path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ballast")) {
                fs::remove_file(path).expect("ballast goes");
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may still have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_and_writes_go_on_when_there_is_space() {
    let server = server().await;
    let Some(disk) = SmallDisk::mount(&server) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let tablespace = format!("CREATE TABLESPACE small LOCATION '{}'", disk.path().display());
    server.sql("postgres", &tablespace).expect("a tablespace");
    server.sql("postgres", "CREATE DATABASE jobs TABLESPACE small").expect("a database");
    let store = store(&server, "jobs").await;
    with_a_running_job(&store).await;
    disk.fill();
    let is_full = |answer: &Result<(), Error>| {
        let full = answer.as_ref().is_err_and(|error| error.message() == "the disk of the database is full");
        assert!(full || answer.is_ok(), "{answer:?}");
        full
    };
    create_until(&store, "filling", 50_000, is_full).await;
    let large = |name: &str| {
        let mut new = job(name);
        new.task.data =
            (0..200_000u32).map(|place| (place.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        accept(new)
    };
    for jobs in [vec![large("new")], vec![large("new"), large("newer")]] {
        let error = store.create(jobs, at(3)).await.expect_err("there is no space");
        assert!(error.is_transient() && error.message().contains("disk"), "{error:?}");
    }
    assert_eq!(read(&store, "running").await.subtasks.completed, 1);
    assert_eq!(status(&store, "running").await, JobStatus::Active);
    store.ping().await.expect("it can be reached");
    disk.free();
    let created = store.create(vec![large("new"), large("newer")], at(4)).await;
    created.expect("there is space again");
    everything_works(&store).await;
}

#[tokio::test]
async fn who_waits_for_a_connection_in_vain_hears_of_it_within_the_time_that_there_is() {
    let server = server().await;
    let (wait, limit) = (Duration::from_secs(1), Duration::from_secs(2));
    let options = PostgresOptions::new(&server.url("postgres")).expect("a URL");
    let options = options.with_acquire_timeout(wait).with_retry_limit(limit);
    let clock = Arc::new(SystemClock::new());
    let store = PostgresStore::connect(options, Arc::clone(&clock) as _).await.expect("a store");
    store.migrate().await.expect("the migration");
    tokio::task::spawn_blocking(move || server.stop()).await.expect("no panic").expect("it stops");
    let begun = clock.now();
    let error = store.get(&[job_conformance::store::fixture::key("a")]).await.expect_err("no database");
    assert!(clock.now().since(begun) < limit, "it was tried once more");
    assert!(error.is_transient() && error.message().contains("no connection to the database"), "{error:?}");
}
