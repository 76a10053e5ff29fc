//! Log lines, on standard error, and what else is made of what the process tells of itself.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::LogFormat;
use crate::telemetry::{Export, spans};

/// Starts logging for the whole process. `audit` is the level of the audit log's records, for as long as they have no file;
/// `export` gets the spans, if there is a collector for them.
///
/// # Errors
/// When something else did before.
pub(crate) fn start(
    level: LevelFilter,
    audit: LevelFilter,
    format: LogFormat,
    export: Option<&Export>,
) -> anyhow::Result<()> {
    // The drivers tell too much: lapin writes whole returned messages, sqlx every notice of the database. What matters of
    // it the backends say themselves.
    let drivers = level.min(LevelFilter::WARN);
    let of_spans = spans::TARGET;
    let filter = EnvFilter::new(format!("{level},audit={audit},lapin=off,sqlx={drivers},{of_spans}=off"));
    let lines = fmt::layer()
        .with_writer(stderr)
        // Where there is nobody to read a line there is nobody to read that it could not be written.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    let lines = match format {
        LogFormat::Human => lines.boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    let started = registry().with(lines.with_filter(filter)).with(export.map(Export::layer)).try_init();
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}
