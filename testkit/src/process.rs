//! Finding and signalling processes.
//!
//! A process belongs to a server when its working directory lies inside the server's directory. That holds for
//! children that start sessions of their own, as PostgreSQL's do, and does not mistake a reused process id.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// Ids of the processes whose working directory lies in `directory`; zombies have none and do not count.
pub(crate) fn processes_in(directory: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list /proc")? {
        let entry = entry.context("cannot list /proc")?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // An error means that the process has gone or is somebody else's.
        if std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory)) {
            found.push(id);
        }
    }
    Ok(found)
}

/// Sends a signal (`KILL`, `STOP`) to processes; one that has gone is no error.
pub(crate) fn signal(signal: &str, ids: &[u32]) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    // The shell's own `kill` exists everywhere and needs neither a crate nor unsafe code.
    Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$@\"", signal])
        .args(ids.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("cannot send SIG{signal}"))?;
    Ok(())
}
