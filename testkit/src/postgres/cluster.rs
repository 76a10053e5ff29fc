//! The data directory of a PostgreSQL server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::PostgresOptions;
use crate::owner::Owner;
use crate::programs;
use crate::sandbox::Sandbox;

/// Later lines win, so that a test's own settings may override these.
const SETTINGS: [(&str, &str); 10] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("max_connections", "200"),
    ("shared_buffers", "64MB"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    // Files in the data directory go away with it; segments in /dev/shm would outlive a killed server.
    ("dynamic_shared_memory_type", "mmap"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %u@%d "),
];

/// Makes the directory `data` with an empty cluster whose superuser is `postgres`.
pub(super) fn create(
    sandbox: &Sandbox,
    owner: Option<Owner>,
    password: &str,
    options: &PostgresOptions,
) -> Result<PathBuf> {
    let data = sandbox.make_directory("data")?;
    let password_file = sandbox.write("password", password)?;
    let mut initdb = Command::new(programs::postgres_directory()?.join("initdb"));
    isolate(&mut initdb, owner);
    let output = initdb
        .arg("--pgdata")
        .arg(&data)
        .arg("--pwfile")
        .arg(&password_file)
        // A SCRAM handshake costs a debug build some milliseconds for each connection; MD5 costs nothing.
        .args(["--username=postgres", "--auth=md5", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
        .current_dir(sandbox.directory())
        .stdin(Stdio::null())
        .output()
        .context("cannot run initdb")?;
    if !output.status.success() {
        bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    // Root may append to a file of the server's user without becoming its owner.
    let configuration = data.join("postgresql.conf");
    let mut text = std::fs::read_to_string(&configuration).context("initdb wrote no postgresql.conf")?;
    let chosen = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in SETTINGS.into_iter().chain(chosen) {
        text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    std::fs::write(&configuration, text).context("cannot write postgresql.conf")?;
    Ok(data)
}

/// Gives a program of PostgreSQL its user, and nothing of the test's environment but `PATH`.
pub(super) fn isolate(command: &mut Command, owner: Option<Owner>) {
    command.env_clear().env("PATH", programs::search_path()).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    if let Some(owner) = owner {
        owner.run(command);
    }
}

/// Whether the server with this process id says in its lock file that it takes connections.
///
/// A listening port says less: during recovery the server listens, only to refuse.
pub(super) fn is_ready(data: &Path, id: u32) -> bool {
    let Ok(lock_file) = std::fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = lock_file.lines().map(str::trim_end);
    lines.next() == Some(&id.to_string()) && lines.nth(6) == Some("ready")
}
