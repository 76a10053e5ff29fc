//! A private RabbitMQ server.

mod node;
mod options;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::sandbox::Sandbox;
use crate::server_process::ServerProcess;
use node::Node;

pub use options::RabbitOptions;

/// Recovery of many queues included.
const START_LIMIT: Duration = Duration::from_secs(120);
/// The port mapper only opens a port.
const MAPPER_START_LIMIT: Duration = Duration::from_secs(20);
/// Free ports may be taken before the server gets them.
const START_ATTEMPTS: usize = 3;

/// A private RabbitMQ server: one node with a name, data, ports and an Erlang port mapper (`epmd`) of its own.
///
/// All methods block the thread, some for seconds; from an async test that must go on meanwhile, share the server in an
/// `Arc` and call them through `tokio::task::spawn_blocking`. Dropping the value stops the server and removes its data;
/// the end of the process, however it comes, does the same.
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// let server = testkit::RabbitServer::start()?;
/// // From now on publishers are blocked.
/// server.ctl(&["set_vm_memory_high_watermark", "absolute", "1"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RabbitServer {
    // Dropped first, it ends the two processes.
    sandbox: Sandbox,
    process: ServerProcess,
    mapper: ServerProcess,
    node: Node,
}

impl RabbitServer {
    /// Starts a server with the default options. Takes four to seven seconds.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not start; the message has the end of its log.
    pub fn start() -> Result<Self> {
        Self::start_with(&RabbitOptions::default())
    }

    /// Starts a server.
    ///
    /// # Errors
    /// As [`RabbitServer::start`].
    pub fn start_with(options: &RabbitOptions) -> Result<Self> {
        let mut attempts = START_ATTEMPTS;
        loop {
            attempts -= 1;
            match Self::try_start(options) {
                Err(_) if attempts > 0 => {}
                result => return result,
            }
        }
    }

    /// URL of the default virtual host for an administrator.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("/")
    }

    /// URL of a virtual host that the test has made, for the same administrator.
    #[must_use]
    pub fn url_of(&self, virtual_host: &str) -> String {
        self.node.url(virtual_host)
    }

    /// The port on 127.0.0.1; stays the same over restarts.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.node.port
    }

    /// The server's temporary directory: its log is the file `log`, its data the directory `mnesia`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.sandbox.directory()
    }

    /// Runs `rabbitmqctl` against this server and returns what it prints. Takes one to two seconds.
    ///
    /// # Errors
    /// When it fails, with its message.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.node.ctl(arguments)?;
        let output =
            command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {command:?}"))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            bail!("rabbitmqctl {} failed: {printed}{complaint}", arguments.join(" "));
        }
        Ok(printed)
    }

    /// Stops the server in order.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub fn stop(&self) -> Result<()> {
        self.process.stop("TERM")
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

    fn try_start(options: &RabbitOptions) -> Result<Self> {
        // Nothing is left to say goodbye to, and RabbitMQ takes seconds for it.
        let sandbox = Sandbox::create("rabbit", "KILL", None)?;
        let node = Node::create(&sandbox, options)?;
        let working_directory = sandbox.make_directory("node")?;
        let process = ServerProcess::new("RabbitMQ", working_directory, sandbox.directory().join("log"));
        let working_directory = sandbox.make_directory("mapper")?;
        let mapper = ServerProcess::new("epmd", working_directory, sandbox.directory().join("mapper.log"));
        let server = Self { sandbox, process, mapper, node };
        server.mapper.start(server.node.mapper(), MAPPER_START_LIMIT, |_| server.node.mapper_answers())?;
        server.run()?;
        Ok(server)
    }

    fn run(&self) -> Result<()> {
        self.process.start(self.node.server()?, START_LIMIT, |_| self.node.answers())
    }
}
