//! The command that runs between start and removal of the servers.
#![expect(clippy::disallowed_methods, reason = "a command gets real time to end")]

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long the command may take to end after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the command to its end and gives its exit code. SIGINT and SIGTERM are handed on to it; when it does not end
/// in time, it is killed.
pub(crate) async fn run(command: &[OsString], environment: Vec<(&str, String)>) -> Result<u8> {
    let (program, arguments) = command.split_first().context("there is a command")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch SIGTERM")?;

    let mut command = Command::new(program);
    command.args(arguments).envs(environment);
    // With a terminal, the command must stay in the foreground group: it may read, and Ctrl-C reaches it by itself.
    // Without one it leads a group of its own, so that a signal reaches everything it has started.
    let by_terminal = std::io::stdin().is_terminal();
    if !by_terminal {
        command.process_group(0);
    }
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.to_string_lossy()))?;

    let name = tokio::select! {
        status = child.wait() => return status.map(code).context("cannot wait for the command"),
        () = received(&mut interrupt) => "INT",
        () = received(&mut terminate) => "TERM",
    };
    if !(by_terminal && name == "INT") {
        send(name, &child, by_terminal).await?;
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        send("KILL", &child, by_terminal).await?;
    }
    // The servers may now go; whatever the command made of the signal, this run was cut short.
    child.wait().await.context("cannot wait for the command")?;
    Ok(if name == "INT" { 130 } else { 143 })
}

/// Waits for the signal. The stream of signals never ends.
async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Sends a signal to the command, or to its whole group when it leads one.
async fn send(signal: &str, child: &Child, alone: bool) -> Result<()> {
    let Some(id) = child.id() else { return Ok(()) };
    let target = if alone { id.to_string() } else { format!("-{id}") };
    Command::new("sh")
        .args(["-c", "kill -s \"$0\" -- \"$1\"", signal, &target])
        .status()
        .await
        .context("cannot send a signal")?;
    Ok(())
}

fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
