//! SQL through the program `psql`: no database driver for a handful of statements.

use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::programs;

/// `psql` on `url`, without anybody's start-up file, giving bare values and SQLSTATEs, stopping at the first error.
pub(crate) fn command(url: &str) -> Result<Command> {
    let mut command = Command::new(programs::psql()?);
    command
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-d", url])
        .env("PGCONNECT_TIMEOUT", "10")
        .env("PGAPPNAME", "testkit");
    Ok(command)
}

/// Runs SQL and returns what it prints, without the last line end.
pub(crate) fn run(url: &str, sql: &str) -> Result<String> {
    let output = command(url)?.args(["-c", sql]).stdin(Stdio::null()).output().context("cannot run psql")?;
    text(&output).with_context(|| format!("failed: {sql}"))
}

fn text(output: &Output) -> Result<String> {
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
