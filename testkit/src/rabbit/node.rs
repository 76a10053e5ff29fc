//! How a RabbitMQ node is named, configured, called and asked whether it is there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::RabbitOptions;
use crate::sandbox::Sandbox;
use crate::url::encode;
use crate::{ports, programs, random};

const USER: &str = "testkit";
/// Answers come from this machine: at once or not yet.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// One node: its names, ports and files.
#[derive(Debug)]
pub(super) struct Node {
    directory: PathBuf,
    name: String,
    password: String,
    pub(super) port: u16,
    distribution_port: u16,
    mapper_port: u16,
}

impl Node {
    /// Chooses names and ports and writes the configuration.
    pub(super) fn create(sandbox: &Sandbox, options: &RabbitOptions) -> Result<Self> {
        let node = Self {
            directory: sandbox.directory().to_owned(),
            name: format!("testkit-{}@localhost", random::hex()?),
            password: random::hex()?,
            port: ports::free_port()?,
            distribution_port: ports::free_port()?,
            mapper_port: ports::free_port()?,
        };
        sandbox.write("rabbitmq.conf", &node.configuration(options))?;
        sandbox.write("enabled_plugins", "[].\n")?;
        sandbox.make_directory("ctl")?;
        Ok(node)
    }

    pub(super) fn url(&self, virtual_host: &str) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/{}", self.password, self.port, encode(virtual_host))
    }

    /// The Erlang port mapper, in the foreground. One of our own: a shared one would outlive the test.
    pub(super) fn mapper(&self) -> Command {
        let mut command = Command::new("epmd");
        command.args(["-address", "127.0.0.1", "-port", &self.mapper_port.to_string()]);
        self.isolate(&mut command);
        command
    }

    pub(super) fn server(&self) -> Result<Command> {
        let mut command = Command::new(programs::rabbit_directory()?.join("rabbitmq-server"));
        self.isolate(&mut command);
        Ok(command)
    }

    pub(super) fn ctl(&self, arguments: &[&str]) -> Result<Command> {
        // It is an Erlang node too, and listens.
        let port = ports::free_port()?.to_string();
        let mut command = Command::new(programs::rabbit_directory()?.join("rabbitmqctl"));
        self.isolate(&mut command);
        command
            .current_dir(self.directory.join("ctl"))
            .env("RABBITMQ_CTL_DIST_PORT_MIN", &port)
            .env("RABBITMQ_CTL_DIST_PORT_MAX", &port)
            .env("RABBITMQ_CTL_ERL_ARGS", loopback_only())
            .args(["-n", &self.name])
            .args(arguments);
        Ok(command)
    }

    pub(super) fn mapper_answers(&self) -> bool {
        connect(self.mapper_port).is_some()
    }

    /// Whether the server answers a client's greeting. It opens its port last of all when it starts.
    pub(super) fn answers(&self) -> bool {
        const METHOD_FRAME: u8 = 1;
        let Some(mut stream) = connect(self.port) else { return false };
        let mut first_byte = [0];
        stream.write_all(b"AMQP\x00\x00\x09\x01").and_then(|()| stream.read_exact(&mut first_byte)).is_ok()
            && first_byte == [METHOD_FRAME]
    }

    fn configuration(&self, options: &RabbitOptions) -> String {
        let port = self.port;
        let password = &self.password;
        let mut text = format!(
            "listeners.tcp.1 = 127.0.0.1:{port}\n\
             default_user = {USER}\n\
             default_pass = {password}\n\
             disk_free_limit.absolute = 50MB\n\
             vm_memory_high_watermark.absolute = 512MB\n"
        );
        for (name, value) in &options.settings {
            text.push_str(&format!("{name} = {value}\n"));
        }
        text
    }

    /// Gives a program of RabbitMQ everything it would otherwise look for in the system's directories.
    fn isolate(&self, command: &mut Command) {
        let file = |name: &str| self.directory.join(name);
        command
            .env_clear()
            .env("PATH", programs::search_path())
            .env("LC_ALL", "C.UTF-8")
            // The Erlang cookie, the secret that programs of one node share, is made here.
            .env("HOME", &self.directory)
            .env("HOSTNAME", "localhost")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_BASE", &self.directory)
            .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
            .env("RABBITMQ_LOG_BASE", file("logs"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            // Straight to our log file, so that it is there for an error message.
            .env("RABBITMQ_LOGS", "-")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", loopback_only());
    }
}

/// Arguments for Erlang: distribution on the loopback address, and idle threads that sleep instead of spinning.
fn loopback_only() -> &'static str {
    "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none"
}

fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), ANSWER_LIMIT).ok()?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).ok()?;
    Some(stream)
}
