//! Log lines, on standard error.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;

/// Starts logging for the whole process.
///
/// # Errors
/// When something else did before.
pub(crate) fn start(level: LevelFilter, format: LogFormat) -> anyhow::Result<()> {
    let builder =
        tracing_subscriber::fmt().with_max_level(level).with_writer(stderr).with_ansi(stderr().is_terminal());
    let started = match format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))
}
