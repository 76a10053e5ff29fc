//! The server's process: started, watched, killed.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use job_core::{ClockExt as _, Shutdown, SystemClock};
use tokio::sync::watch;

use crate::recovery::until;

const LINES_KEPT: usize = 100;
/// A debug build on a busy machine included.
const START_LIMIT: Duration = Duration::from_secs(60);

type Lines = Arc<Mutex<VecDeque<String>>>;

/// A running server; killed with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Mutex<Child>,
    /// None for one that does not serve the API.
    address: Option<SocketAddr>,
    admin: SocketAddr,
    lines: Lines,
}

impl Process {
    /// Starts `job-server serve` with these settings and waits until it listens.
    pub(crate) async fn start(settings: &[(&str, String)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_job-server"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
            ])
            .env_clear()
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Lines::default();
        let stderr = child.stderr.take().unwrap();
        let (found, mut addresses) = watch::channel((None, None));
        // Ends with the process' last word.
        Shutdown::new().spawn_blocking({
            let lines = Arc::clone(&lines);
            move || read(stderr, &lines, &found)
        });
        let listening = async move {
            // It says its API's address before.
            let is_whole = |found: &(Option<_>, Option<_>)| found.1.is_some();
            addresses.wait_for(is_whole).await.map(|found| *found)
        };
        let Ok(Ok((address, Some(admin)))) = SystemClock::new().timeout(START_LIMIT, listening).await else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server did not start: {:#?}", lines.lock().unwrap());
        };
        Self { child: Mutex::new(child), address, admin, lines }
    }

    pub(crate) const fn serves_api(&self) -> bool {
        self.address.is_some()
    }

    /// # Panics
    /// When it does not serve the API.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("it serves the API")
    }

    pub(crate) const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.lock().unwrap().id().to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(status.success(), "SIG{name}");
    }

    /// How the process ended.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub(crate) async fn ended(&self, limit: Duration) -> ExitStatus {
        let ended = until(limit, async || self.child.lock().unwrap().try_wait().unwrap()).await;
        ended.unwrap_or_else(|| panic!("still running after {limit:?}: {:#?}", self.last_lines()))
    }

    /// The end of its log.
    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().iter().cloned().collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the last that the server said: {:#?}", self.last_lines());
        }
    }
}

fn read(stderr: ChildStderr, lines: &Lines, found: &watch::Sender<(Option<SocketAddr>, Option<SocketAddr>)>) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let address = |marker: &str| {
            let rest = line.split_once(marker)?.1;
            rest.split(['/', '"']).next()?.parse::<SocketAddr>().ok()
        };
        if let Some(api) = address("the API is at http://") {
            found.send_modify(|found| found.0 = Some(api));
        }
        if let Some(admin) = address("the admin endpoints are at http://") {
            found.send_modify(|found| found.1 = Some(admin));
        }
        // One for each request.
        if line.contains(r#""target":"audit""#) {
            continue;
        }
        let mut lines = lines.lock().unwrap();
        lines.push_back(line);
        if lines.len() > LINES_KEPT {
            lines.pop_front();
        }
    }
}
