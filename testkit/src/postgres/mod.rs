//! A private PostgreSQL server.

mod cluster;
mod options;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::owner::Owner;
use crate::sandbox::Sandbox;
use crate::server_process::ServerProcess;
use crate::url::encode;
use crate::{ports, programs, psql, random};

pub use options::PostgresOptions;

/// Recovery after a crash included.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A free port may be taken before the server gets it.
const START_ATTEMPTS: usize = 3;

/// A private PostgreSQL server: fresh data in a temporary directory, a free port on the loopback address.
///
/// All methods block the thread; from an async test that must go on meanwhile, share the server in an `Arc` and call
/// them through `tokio::task::spawn_blocking`. Dropping the value stops the server and removes its data; the end of
/// the process, however it comes, does the same.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// let server = testkit::PostgresServer::start()?;
/// assert_eq!(server.sql("postgres", "select 1 + 1")?, "2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    // Dropped first, it ends the process.
    sandbox: Sandbox,
    process: ServerProcess,
    owner: Option<Owner>,
    port: u16,
    password: String,
}

impl PostgresServer {
    /// Starts a server with the default options.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not start; the message has the end of its log.
    pub fn start() -> Result<Self> {
        Self::start_with(&PostgresOptions::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with(options: &PostgresOptions) -> Result<Self> {
        let owner = Owner::instead_of_root("postgres")?;
        // Told to quit at once, PostgreSQL still gives back its shared memory; killed, it cannot.
        let sandbox = Sandbox::create("postgres", "QUIT", owner)?;
        let password = random::hex()?;
        let data = cluster::create(&sandbox, owner, &password, options)?;
        let process = ServerProcess::new("PostgreSQL", data, sandbox.directory().join("log"));
        let mut server = Self { sandbox, process, owner, port: 0, password };
        let mut attempts = START_ATTEMPTS;
        loop {
            attempts -= 1;
            server.port = ports::free_port()?;
            match server.run() {
                Err(_) if attempts > 0 => {}
                result => return result.map(|()| server),
            }
        }
    }

    /// URL of a database for the superuser `postgres`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        self.url_for("postgres", &self.password, database)
    }

    /// URL of a database for a role that the test has made.
    #[must_use]
    pub fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        let (role, password, database) = (encode(role), encode(password), encode(database));
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1; stays the same over restarts.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The server's temporary directory: its log is the file `log`, its data the directory `data`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.sandbox.directory()
    }

    /// Runs SQL in a database as the superuser and returns what it prints: columns separated by `|`, no headings.
    ///
    /// # Errors
    /// When the server refuses, with its message and SQLSTATE.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        psql::run(&self.url(database), sql)
    }

    /// Stops the server in order (SIGINT): sessions end, transactions roll back, a checkpoint is written.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn stop(&self) -> Result<()> {
        self.process.stop("INT")
    }

    /// Stops the server at once (SIGQUIT), as after a crash: no checkpoint, recovery at the next start.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn stop_immediate(&self) -> Result<()> {
        self.process.stop("QUIT")
    }

    /// Kills all processes of the server (SIGKILL).
    ///
    /// # Errors
    /// When they do not go away within a minute.
    pub fn kill(&self) -> Result<()> {
        self.process.kill()
    }

    /// Starts the server again on the same data and port; stops it in order first when it is running.
    ///
    /// # Errors
    /// When it does not stop or start.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    /// Freezes all processes of the server: connections stay open, nothing answers.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// When its processes cannot be listed.
    pub fn unpause(&self) -> Result<()> {
        self.process.unpause()
    }

    /// The end of the server's log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    fn run(&self) -> Result<()> {
        let data = &self.process.directory;
        let mut command = Command::new(programs::postgres_directory()?.join("postgres"));
        command.arg("-D").arg(data).arg("-p").arg(self.port.to_string());
        cluster::isolate(&mut command, self.owner);
        self.process.start(command, START_LIMIT, |id| cluster::is_ready(data, id))
    }
}
