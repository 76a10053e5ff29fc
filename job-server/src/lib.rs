//! Job Service as a server: the REST API over HTTP, its configuration, and the demo.
//!
//! This crate translates: HTTP to the use cases of [`job_core::JobService`] and back. It decides nothing about jobs.
//! [`App`] is the server as a value, for the binary, the demo and the tests.

mod app;
mod audit;
mod auth;
mod backends;
mod client;
pub mod config;
mod demo;
mod doctor;
mod error;
mod exchange;
#[cfg(test)]
mod generated_docs;
mod handlers;
mod health;
mod limits;
mod logging;
mod maintenance;
mod memory_use;
mod middleware;
mod model;
mod query_string;
mod reply;
mod router;
mod serve;
mod server;
mod table;
mod telemetry;
mod time_span;
mod token_command;

use std::process::ExitCode;

pub use app::App;
pub use auth::Secret;
pub use client::JobArguments;
pub use config::Config;
pub use demo::DemoArgs;
pub use health::{CheckSchedule, HealthSchedule};
pub use limits::Limits;
pub use maintenance::{MigrateArguments, PruneArguments, VerifyArguments};
pub use server::TlsFiles;
pub use telemetry::CollectorUrl;

use config::{Command, CommandLine};

/// Runs the command that `line` names.
///
/// # Errors
/// A sentence for the operator when it could not be started.
pub async fn run(line: CommandLine) -> anyhow::Result<ExitCode> {
    match line.command {
        Command::Serve(arguments) => serve::serve(&arguments).await,
        Command::Demo(arguments) => demo::run(*arguments).await,
        Command::Migrate(arguments) => maintenance::migrate::run(&arguments).await,
        Command::Verify(arguments) => maintenance::verify::run(&arguments).await,
        Command::Prune(arguments) => maintenance::prune::run(&arguments).await,
        Command::Config(arguments) => config::show_settings(&arguments, &mut std::io::stdout().lock()),
        Command::Doctor(arguments) => doctor::run(&arguments).await,
        Command::Job(arguments) => client::run(&arguments).await,
        Command::CheckJobTypes { directory } => {
            config::check_job_types(&directory, &mut std::io::stdout().lock())
        }
        Command::Token(command) => token_command::run(&command),
    }
}
