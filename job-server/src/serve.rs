//! The command `serve`.

use std::process::ExitCode;

use job_core::Shutdown;
use tracing_subscriber::filter::LevelFilter;

use crate::app::App;
use crate::config::{Config, Role, ServeArguments, unknown_variables};
use crate::logging;
use crate::server::drain::{reload_on_hangup, stop_on_signals};
use crate::telemetry::Export;

/// Serves until a signal comes; 0 when everything in hand was finished.
pub(crate) async fn serve(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let config = arguments.config()?;
    // Records of the audit log are written whatever the level is.
    let export = config.collector.as_ref().map(Export::start).transpose()?;
    logging::start(arguments.log_level, LevelFilter::INFO, arguments.log_format, export.as_ref())?;
    for unknown in unknown_variables() {
        tracing::warn!(variable = unknown.name, nearest = unknown.nearest, "{unknown}");
    }
    warn_of_what_is_insecure(&config);
    let store = arguments.store.open().await?;
    let queue = arguments.queue.open()?;
    let app = App::build(config, store, queue).await?;
    if let Some(address) = app.address() {
        tracing::info!(
            "the API is at http://{address}/job-service/v1/ and described at http://{address}/openapi.yaml"
        );
    }
    if let Some(address) = app.https_address() {
        tracing::info!("the API is at https://{address}/job-service/v1/ too");
    }
    if let Some(address) = app.admin_address() {
        tracing::info!("the admin endpoints are at http://{address}/");
    }
    let shutdown = Shutdown::new();
    // Not one of the tasks that draining waits for.
    let watch = Shutdown::new();
    let stop = shutdown.clone();
    let signals = watch.spawn(async move {
        if let Err(error) = stop_on_signals(stop).await {
            tracing::error!(%error, "SIGTERM and SIGINT cannot be listened for: the first one ends the process at once");
        }
    });
    let reload = app.reload();
    let hangups = watch.spawn(async move {
        if let Err(error) = reload_on_hangup(move || reload.now()).await {
            tracing::error!(%error, "SIGHUP cannot be listened for: restart the server after replacing certificates");
        }
    });
    let drained = app.run(shutdown).await;
    if let Some(export) = export {
        export.stop().await;
    }
    signals.abort();
    hangups.abort();
    if drained {
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    } else {
        tracing::warn!("stopped before everything in hand was finished");
        Ok(ExitCode::FAILURE)
    }
}

fn warn_of_what_is_insecure(config: &Config) {
    if config.is_local() {
        return;
    }
    if config.tokens.is_none() {
        tracing::warn!(
            "others can reach this server, and nobody has to say who they are: --allow-unauthenticated"
        );
    } else if config.roles.has(Role::Api) && !config.listen.ip().is_loopback() {
        tracing::warn!("others can reach this server over HTTP, where tokens can be read on their way");
    }
}
