//! `testkit with-services` hands on what it is told and leaves nothing, however it ends.
#![expect(
    clippy::disallowed_methods,
    reason = "the end of foreign processes can only be polled, in real time"
)]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A directory for the servers' directories that the database's user may enter too, wherever `TMPDIR` points.
fn temporary_directory() -> Result<TempDir> {
    let directory = tempfile::tempdir_in("/tmp")?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755))?;
    Ok(directory)
}

/// `testkit with-services ...`, with none of the servers that this test run may have.
fn testkit(temporary: &TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testkit"));
    command
        .arg("with-services")
        .args(arguments)
        .env("TMPDIR", temporary.path())
        .env_remove("DATABASE_URL")
        .env_remove("AMQP_URL")
        .stdin(Stdio::null());
    command
}

/// Processes that work inside the directory.
fn processes_in(directory: &Path) -> Result<usize> {
    let inside = |entry: std::io::Result<std::fs::DirEntry>| {
        entry
            .and_then(|entry| std::fs::read_link(entry.path().join("cwd")))
            .is_ok_and(|cwd| cwd.starts_with(directory))
    };
    Ok(std::fs::read_dir("/proc")?.map(inside).filter(|inside| *inside).count())
}

/// Polls until nothing is left of the servers: no process, no file, no listener.
fn wait_until_nothing_is_left(temporary: &TempDir, ports: &[u16]) -> Result<()> {
    let start = Instant::now();
    loop {
        let processes = processes_in(temporary.path())?;
        let files = std::fs::read_dir(temporary)?.count();
        let listeners = ports.iter().filter(|port| TcpStream::connect(("127.0.0.1", **port)).is_ok()).count();
        if processes + files + listeners == 0 {
            return Ok(());
        }
        if start.elapsed() > DEADLINE {
            bail!("left over: {processes} processes, {files} files, {listeners} listeners");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts both servers around a command that prints their URLs and ends with its input; gives that too, and their ports.
fn start_both(temporary: &TempDir) -> Result<(Child, ChildStdin, [u16; 2])> {
    let command = "echo $DATABASE_URL; echo $AMQP_URL; read -r _";
    let mut child = testkit(temporary, &["--postgres", "--rabbit", "--", "sh", "-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("the output is a pipe")?).lines();
    let mut port = |scheme: &str| -> Result<u16> {
        let url = lines.next().context("the command prints two lines")??;
        ensure!(url.starts_with(scheme), "not a URL of {scheme}: {url}");
        let address = url.rsplit_once('@').context("a user and a host")?.1;
        Ok(address.split([':', '/']).nth(1).context("a port")?.parse()?)
    };
    let ports = [port("postgres://")?, port("amqp://")?];
    assert!(processes_in(temporary.path())? >= 3, "the servers work in the temporary directory");
    let input = child.stdin.take().context("the input is a pipe")?;
    Ok((child, input, ports))
}

fn send(signal: &str, child: &Child) -> Result<()> {
    let sent = Command::new("sh").args(["-c", &format!("kill -s {signal} {}", child.id())]).status()?;
    ensure!(sent.success(), "cannot send SIG{signal}");
    Ok(())
}

#[test]
fn the_servers_die_with_a_killed_parent() -> Result<()> {
    let temporary = temporary_directory()?;
    let (mut child, input, ports) = start_both(&temporary)?;
    send("KILL", &child)?;
    child.wait()?;
    // This ends the orphaned command.
    drop(input);
    wait_until_nothing_is_left(&temporary, &ports)
}

#[test]
fn signals_end_the_command_and_remove_the_servers() -> Result<()> {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let temporary = temporary_directory()?;
        let (mut child, _input, ports) = start_both(&temporary)?;
        send(signal, &child)?;
        assert_eq!(child.wait()?.code(), Some(code), "after SIG{signal}");
        // All is done before it ends.
        assert_eq!(std::fs::read_dir(&temporary)?.count(), 0);
        wait_until_nothing_is_left(&temporary, &ports)?;
    }
    Ok(())
}

#[test]
fn the_exit_code_is_that_of_the_command() -> Result<()> {
    let temporary = temporary_directory()?;
    for (command, code) in [("exit 0", 0), ("exit 7", 7), ("kill -s KILL $$", 137)] {
        let status = testkit(&temporary, &["--postgres", "--", "sh", "-c", command]).status()?;
        assert_eq!(status.code(), Some(code), "{command}");
        assert_eq!(std::fs::read_dir(&temporary)?.count(), 0);
    }
    let unknown =
        testkit(&temporary, &["--postgres", "--", "no-such-program"]).stderr(Stdio::null()).status()?;
    assert_eq!(unknown.code(), Some(125));
    assert_eq!(testkit(&temporary, &["--mysql"]).stderr(Stdio::null()).status()?.code(), Some(2));
    wait_until_nothing_is_left(&temporary, &[])
}

#[test]
fn a_url_that_is_set_is_kept_and_starts_nothing() -> Result<()> {
    let temporary = temporary_directory()?;
    let output = testkit(
        &temporary,
        &["--postgres", "--rabbit", "--", "sh", "-c", "echo $DATABASE_URL $AMQP_URL; ls $TMPDIR"],
    )
    .env("DATABASE_URL", "postgres://mine")
    .env("AMQP_URL", "amqp://mine")
    .output()?;
    assert_eq!(String::from_utf8(output.stdout)?, "postgres://mine amqp://mine\n");
    Ok(())
}
