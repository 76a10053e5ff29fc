//! Log lines, on standard error.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Starts logging for the whole process. `audit` is the level of the audit log's records, for as long as they have no file.
///
/// # Errors
/// When something else did before.
pub(crate) fn start(level: LevelFilter, audit: LevelFilter, format: LogFormat) -> anyhow::Result<()> {
    // The drivers tell too much: lapin writes whole returned messages, sqlx every notice of the database. What matters of
    // it the backends say themselves.
    let drivers = level.min(LevelFilter::WARN);
    let filter = EnvFilter::new(format!("{level},audit={audit},lapin=off,sqlx={drivers}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // Where there is nobody to read a line there is nobody to read that it could not be written.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    let started = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}
