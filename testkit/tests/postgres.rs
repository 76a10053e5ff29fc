//! A private PostgreSQL server does what its documentation says.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{PostgresOptions, PostgresServer};

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[test]
fn committed_data_survives_every_way_to_stop() -> anyhow::Result<()> {
    let server = PostgresServer::start()?;
    server.sql("postgres", "create table kept (value int)")?;
    type Way = fn(&PostgresServer) -> anyhow::Result<()>;
    let ways: [(&str, Way); 3] = [
        ("stop", PostgresServer::stop),
        ("stop_immediate", PostgresServer::stop_immediate),
        ("kill", PostgresServer::kill),
    ];
    for (index, (name, way)) in ways.into_iter().enumerate() {
        server.sql("postgres", "insert into kept values (1)")?;
        way(&server)?;
        assert!(!listens(server.port()), "it still listens after {name}");
        server.restart()?;
        let count = server.sql("postgres", "select count(*) from kept")?;
        assert_eq!(count, (index + 1).to_string(), "after {name}");
    }
    // A running server is stopped first.
    server.restart()?;
    assert_eq!(server.sql("postgres", "select count(*) from kept")?, "3");
    Ok(())
}

#[test]
fn nothing_is_left_of_a_dropped_server() -> anyhow::Result<()> {
    for kill_first in [false, true] {
        let server = PostgresServer::start()?;
        let (directory, port) = (server.directory().to_owned(), server.port());
        let segment = shared_memory_segment(&directory)?;
        assert!(segments()?.contains(&segment), "the lock file names another segment than {segment}");
        if kill_first {
            server.kill()?;
        }
        drop(server);
        assert!(!directory.exists());
        assert!(!listens(port));
        assert!(!segments()?.contains(&segment), "the shared memory segment {segment} is left over");
    }
    Ok(())
}

#[test]
fn a_paused_server_answers_after_the_pause() -> anyhow::Result<()> {
    let server = PostgresServer::start()?;
    server.pause()?;
    // The kernel completes the connection, but nobody answers.
    let mut stream = TcpStream::connect(("127.0.0.1", server.port()))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    const IS_TLS_POSSIBLE: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    stream.write_all(&IS_TLS_POSSIBLE)?;
    let mut answer = [0];
    let silence = stream.read_exact(&mut answer).expect_err("a paused server is silent");
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    server.unpause()?;
    stream.set_read_timeout(None)?;
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, *b"N");
    // Neither stopping nor dropping waits for the end of a pause.
    server.pause()?;
    server.stop()?;
    server.restart()?;
    server.pause()
}

#[test]
fn settings_roles_and_locale_are_as_asked() -> anyhow::Result<()> {
    let server = PostgresServer::start_with(&PostgresOptions::durable().with_setting("work_mem", "5MB"))?;
    for (setting, value) in
        [("fsync", "on"), ("work_mem", "5MB"), ("lc_collate", "C.UTF-8"), ("server_encoding", "UTF8")]
    {
        assert_eq!(server.sql("postgres", &format!("show {setting}"))?, value, "{setting}");
    }
    server.sql("postgres", "create role \"an other\" login password 'p/w'")?;
    let url = server.url_for("an other", "p/w", "postgres");
    assert!(url.starts_with("postgres://an%20other:p%2Fw@127.0.0.1:"), "{url}");
    let refused = server.sql("postgres", "select 1 / 0").expect_err("a division by zero");
    assert!(format!("{refused:#}").contains("22012"), "{refused:#}");
    Ok(())
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let options = PostgresOptions::default().with_setting("no_such_setting", "1");
    let error = PostgresServer::start_with(&options).expect_err("the setting does not exist");
    assert!(format!("{error:#}").contains("no_such_setting"), "{error:#}");
}

/// The System V segment of a running server: the second number in line 7 of its lock file.
fn shared_memory_segment(directory: &std::path::Path) -> anyhow::Result<String> {
    let lock_file = std::fs::read_to_string(directory.join("data/postmaster.pid"))?;
    let segment = lock_file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
    segment.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("no segment in {lock_file}"))
}

/// All System V segments of this machine.
fn segments() -> anyhow::Result<Vec<String>> {
    let table = std::fs::read_to_string("/proc/sysvipc/shm")?;
    Ok(table.lines().filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())).collect())
}
