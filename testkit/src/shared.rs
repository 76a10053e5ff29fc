//! The servers that all tests of a process, or of a test run, share.
#![expect(clippy::disallowed_methods, reason = "the environment says which servers to use")]

use std::sync::OnceLock;

use anyhow::{Result, anyhow};

use crate::{PostgresServer, RabbitServer};

/// URL of the PostgreSQL server to test with: `DATABASE_URL`, else a server started now for this process.
///
/// # Errors
/// When PostgreSQL is not installed or does not start; the first failure is remembered.
pub fn postgres() -> Result<&'static str> {
    static SHARED: OnceLock<Result<Shared<PostgresServer>, String>> = OnceLock::new();
    url(&SHARED, "DATABASE_URL", || {
        let server = PostgresServer::start()?;
        Ok(Shared { url: server.url("postgres"), _server: Some(server) })
    })
}

/// URL of the RabbitMQ server to test with: `AMQP_URL`, else a server started now for this process.
///
/// # Errors
/// When RabbitMQ is not installed or does not start; the first failure is remembered.
pub fn rabbit() -> Result<&'static str> {
    static SHARED: OnceLock<Result<Shared<RabbitServer>, String>> = OnceLock::new();
    url(&SHARED, "AMQP_URL", || {
        let server = RabbitServer::start()?;
        Ok(Shared { url: server.url(), _server: Some(server) })
    })
}

/// A URL, and the server behind it when it is ours. Statics are never dropped: its watchdog removes it.
struct Shared<S> {
    url: String,
    _server: Option<S>,
}

fn url<S>(
    slot: &'static OnceLock<Result<Shared<S>, String>>,
    variable: &str,
    start: impl FnOnce() -> Result<Shared<S>>,
) -> Result<&'static str> {
    let shared = slot.get_or_init(|| match std::env::var(variable) {
        Ok(url) => Ok(Shared { url, _server: None }),
        Err(_) => start().map_err(|error| format!("{error:#}")),
    });
    shared.as_ref().map(|shared| shared.url.as_str()).map_err(|error| anyhow!("{error}"))
}
