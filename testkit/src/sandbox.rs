//! A server's directory, and the watchdog that removes it together with all processes inside.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::owner::Owner;
use crate::random;

/// A temporary directory for one server.
///
/// It goes away, with every process that works in it, when this value is dropped or when this process ends: both close
/// the pipe on which the watchdog waits.
#[derive(Debug)]
pub(crate) struct Sandbox {
    directory: PathBuf,
    owner: Option<Owner>,
    watchdog: Child,
}

impl Sandbox {
    /// `first_signal` is what the watchdog tries before SIGKILL.
    pub(crate) fn create(name: &str, first_signal: &str, owner: Option<Owner>) -> Result<Self> {
        let directory = base_directory(owner.is_some()).join(format!("testkit-{name}-{}", random::hex()?));
        // The watchdog comes first, so that there is no moment in which nobody would clean up.
        let watchdog = Command::new("sh")
            .args(["-c", include_str!("watchdog.sh"), "testkit-watchdog"])
            .arg(&directory)
            .arg(first_signal)
            .current_dir("/")
            // Out of reach of Ctrl-C and of a test runner that kills the test's process group.
            .process_group(0)
            .stdin(Stdio::piped())
            // A runner waits for everyone who holds the test's output.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start the watchdog")?;
        let sandbox = Self { directory, owner, watchdog };
        sandbox.make(&sandbox.directory)?;
        Ok(sandbox)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes a directory inside, for the server's user alone.
    pub(crate) fn make_directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.join(name);
        self.make(&directory)?;
        Ok(directory)
    }

    /// Writes a file inside, readable for the server's user.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let file = self.directory.join(name);
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        if let Some(owner) = self.owner {
            owner.give(&file)?;
        }
        Ok(file)
    }

    fn make(&self, directory: &Path) -> Result<()> {
        DirBuilder::new()
            .mode(0o700)
            .create(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        if let Some(owner) = self.owner {
            owner.give(directory)?;
        }
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // Waiting closes the pipe first. The result does not matter: there is nobody left to tell.
        let _ = self.watchdog.wait();
    }
}

/// The directory for temporary files, or `/tmp` where that one would not do: the scripts of RabbitMQ do not quote paths,
/// and a server that runs as another user must be able to enter.
fn base_directory(for_another_user: bool) -> PathBuf {
    let fallback = PathBuf::from("/tmp");
    let Ok(base) = std::env::temp_dir().canonicalize() else { return fallback };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    let plain_name = base.to_str().is_some_and(|name| name.chars().all(plain));
    let may_enter =
        |directory: &Path| directory.metadata().is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    if plain_name && (!for_another_user || base.ancestors().all(may_enter)) { base } else { fallback }
}
