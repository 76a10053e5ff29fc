//! The running program of one server: start, stop, kill, pause.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{processes_in, signal};
use crate::wait::wait_for;

/// How long a shutdown, gentle or not, may take.
const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOG_LINES_IN_ERROR: usize = 20;

/// A server program that may be running or not, and all processes it starts.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    /// For messages.
    pub(crate) name: &'static str,
    /// The working directory, which marks the processes of this server.
    pub(crate) directory: PathBuf,
    /// Takes what the server writes to its output.
    pub(crate) log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl ServerProcess {
    pub(crate) fn new(name: &'static str, directory: PathBuf, log: PathBuf) -> Self {
        Self { name, directory, log, child: Mutex::new(None) }
    }

    /// Starts the program and returns when `ready` says so of its process id; leaves nothing running on failure.
    pub(crate) fn start(
        &self,
        mut command: Command,
        limit: Duration,
        ready: impl Fn(u32) -> bool,
    ) -> Result<()> {
        let mut slot = self.lock();
        if slot.is_some() {
            bail!("{} is running already", self.name);
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot open {}", self.log.display()))?;
        let log_too = log.try_clone().context("cannot open the log twice")?;
        let mut child = command
            .current_dir(&self.directory)
            // Ctrl-C is for the test, which then decides about its servers.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(log_too)
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let started = wait_for("the server is not ready", limit, || {
            if let Some(status) = child.try_wait().context("cannot watch the server")? {
                bail!("the server ended at once: {status}");
            }
            Ok(ready(child.id()).then_some(()))
        });
        *slot = Some(child);
        if let Err(error) = started {
            self.kill_locked(&mut slot)?;
            return Err(error).with_context(|| format!("{} did not start\n{}", self.name, self.log_tail()));
        }
        Ok(())
    }

    /// Sends `stop_signal` to the program and waits until all its processes have gone. Fine when it is not running.
    pub(crate) fn stop(&self, stop_signal: &str) -> Result<()> {
        let mut slot = self.lock();
        let Some(child) = slot.as_ref() else { return Ok(()) };
        let id = child.id();
        signal(stop_signal, &[id])?;
        // It may have been paused.
        signal("CONT", &processes_in(&self.directory)?)?;
        self.wait_until_gone(&mut slot)
    }

    /// Kills the program and everything it started, without warning. Fine when it is not running.
    pub(crate) fn kill(&self) -> Result<()> {
        self.kill_locked(&mut self.lock())
    }

    /// Freezes all processes: connections stay open, nothing answers.
    pub(crate) fn pause(&self) -> Result<()> {
        let slot = self.lock();
        let Some(child) = slot.as_ref() else { bail!("{} is not running", self.name) };
        // The main process first, so that it starts no others meanwhile.
        signal("STOP", &[child.id()])?;
        signal("STOP", &processes_in(&self.directory)?)
    }

    /// Ends a pause.
    pub(crate) fn unpause(&self) -> Result<()> {
        let _slot = self.lock();
        signal("CONT", &processes_in(&self.directory)?)
    }

    /// The end of the server's log.
    pub(crate) fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_IN_ERROR)..].join("\n")
    }

    fn kill_locked(&self, slot: &mut Option<Child>) -> Result<()> {
        let Some(child) = slot.as_ref() else { return Ok(()) };
        signal("STOP", &[child.id()])?;
        let mut ids = processes_in(&self.directory)?;
        ids.push(child.id());
        signal("KILL", &ids)?;
        self.wait_until_gone(slot)
    }

    /// Also reaps the program, which is our child; its own children are reaped by it or by init.
    fn wait_until_gone(&self, slot: &mut Option<Child>) -> Result<()> {
        wait_for(&format!("{} does not end", self.name), STOP_LIMIT, || {
            let ended = match slot.as_mut() {
                Some(child) => child.try_wait().context("cannot watch the server")?.is_some(),
                None => true,
            };
            Ok((ended && processes_in(&self.directory)?.is_empty()).then_some(()))
        })?;
        *slot = None;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ServerProcess {
    /// Reaps the program. The sandbox, dropped before, has ended it already.
    fn drop(&mut self) {
        if let Some(child) = self.lock().as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
