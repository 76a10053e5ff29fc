//! Runs a command with private servers: `testkit with-services [--postgres] [--rabbit] -- COMMAND ARGUMENTS...`

mod arguments;
mod command;

use std::process::ExitCode;

use anyhow::{Context, Result};
use testkit::{PostgresServer, RabbitServer};

use arguments::Arguments;

const USAGE: &str = "\
Usage: testkit with-services [--postgres] [--rabbit] -- COMMAND [ARGUMENTS]

Starts private servers, runs the command with their URLs in DATABASE_URL and
AMQP_URL, removes the servers and ends with the command's exit code. A URL
that is set already is kept, and no server started for it.
";

/// Conventional for a command line that makes no sense.
const EXIT_USAGE: u8 = 2;
/// Conventional for a wrapper that failed itself, not its command.
const EXIT_OWN_FAILURE: u8 = 125;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprint!("testkit: {error}\n\n{USAGE}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    match with_services(&arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("testkit: {error:#}");
            ExitCode::from(EXIT_OWN_FAILURE)
        }
    }
}

/// Gives the exit code of the command. The servers go away with this function's variables; should this process be
/// killed before, their watchdogs remove them.
#[expect(clippy::disallowed_methods, reason = "the environment says which servers exist")]
fn with_services(arguments: &Arguments) -> Result<u8> {
    let missing = |name: &str| std::env::var_os(name).is_none();
    let mut environment = Vec::new();
    let mut postgres = None;
    let mut rabbit = None;
    if arguments.postgres && missing("DATABASE_URL") {
        let server = PostgresServer::start()?;
        environment.push(("DATABASE_URL", server.url("postgres")));
        postgres = Some(server);
    }
    if arguments.rabbit && missing("AMQP_URL") {
        let server = RabbitServer::start()?;
        environment.push(("AMQP_URL", server.url()));
        rabbit = Some(server);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let code = runtime.block_on(command::run(&arguments.command, environment))?;
    drop((postgres, rabbit));
    Ok(code)
}
