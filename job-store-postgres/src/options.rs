//! How to reach the database and how to treat it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use job_core::{Error, Result};
use sqlx::postgres::{PgConnectOptions, PgSslMode};

/// Settings of a [`PostgresStore`](crate::PostgresStore).
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) connect: PgConnectOptions,
    pub(crate) pool_size: u32,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) idle_in_transaction_timeout: Duration,
    pub(crate) connection_lifetime: Duration,
    pub(crate) retry_limit: Duration,
    pub(crate) application_name: String,
    pub(crate) listing: ListingEffort,
    pub(crate) recent_bytes: usize,
}

/// When a listing turns from one way of finding its page to another; it never changes what is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListingEffort {
    /// A condition that leaves no more jobs than this is tried first.
    pub(crate) few: i64,
    /// So many candidates are looked at in the order of the listing before such a condition is tried after all.
    pub(crate) walked: i64,
}

impl PostgresOptions {
    /// Reads a URL such as `postgres://user:password@host:5432/database?sslmode=verify-full`.
    ///
    /// # Errors
    /// [`Invalid`](job_core::ErrorKind::Invalid) when it is not such a URL; the message does not repeat it, since it may
    /// hold a password.
    pub fn new(url: &str) -> Result<Self> {
        let wrong = || {
            Error::invalid(
                "the URL of the store is wrong: expected postgres://user:password@host:port/database",
            )
        };
        // The driver accepts any scheme.
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong());
        }
        let connect = PgConnectOptions::from_str(url).map_err(|error| wrong().with_source(error))?;
        Ok(Self {
            connect,
            pool_size: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            lock_timeout: Duration::from_secs(5),
            idle_in_transaction_timeout: Duration::from_secs(10),
            connection_lifetime: Duration::from_secs(30 * 60),
            retry_limit: Duration::from_secs(10),
            application_name: "job-service".to_owned(),
            listing: ListingEffort { few: 2_000, walked: 5_000 },
            recent_bytes: 32 << 20,
        })
    }

    /// The most connections to keep; 10 unless told otherwise.
    #[must_use]
    pub fn with_pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections.max(1);
        self
    }

    /// How long a call waits for a connection; 5 seconds unless told otherwise.
    #[must_use]
    pub fn with_acquire_timeout(mut self, limit: Duration) -> Self {
        self.acquire_timeout = limit;
        self
    }

    /// How long the server works on one statement; 30 seconds unless told otherwise, zero for as long as it takes. A call that
    /// has got nowhere on one connection for four times as long is begun again on another.
    #[must_use]
    pub fn with_statement_timeout(mut self, limit: Duration) -> Self {
        self.statement_timeout = limit;
        self
    }

    /// How long a statement waits for a lock before its step is run again; 5 seconds unless told otherwise.
    #[must_use]
    pub fn with_lock_timeout(mut self, limit: Duration) -> Self {
        self.lock_timeout = limit;
        self
    }

    /// How long a call goes on trying while the database is away; 10 seconds unless told otherwise. It is not tried once more when
    /// waiting for a connection in vain would take longer than that.
    #[must_use]
    pub fn with_retry_limit(mut self, limit: Duration) -> Self {
        self.retry_limit = limit;
        self
    }

    /// When a listing looks at all jobs that satisfy one of its conditions instead of walking its order: if they are no
    /// more than `few`, or once `walked` jobs have been looked at in vain; 2,000 and 5,000 unless told otherwise. In order of
    /// creation, a tenth of `walked` is enough where they are no more than six times `few`, since these come sorted from an
    /// index. In the order of a label, `walked` says how many jobs are looked at before those that lack it are counted, and
    /// `few` how many of these are then looked for by the times of their creation. What is found is the same.
    #[must_use]
    pub fn with_listing_effort(mut self, few: u32, walked: u32) -> Self {
        self.listing = ListingEffort { few: few.into(), walked: walked.into() };
        self
    }

    /// How much memory may be taken by jobs as this store last wrote them, which spares the next reports about them that they
    /// are read; 32 MiB unless told otherwise, zero for none.
    #[must_use]
    pub fn with_recent_jobs_bytes(mut self, bytes: usize) -> Self {
        self.recent_bytes = bytes;
        self
    }

    /// The name that the server shows for these connections; `job-service` unless told otherwise.
    #[must_use]
    pub fn with_application_name(mut self, name: impl Into<String>) -> Self {
        self.application_name = name.into();
        self
    }

    /// Whether connections are encrypted and the server's certificate and name are checked (`sslmode=verify-full`).
    /// Without it, somebody on the way may read or change what is sent.
    #[must_use]
    pub fn demands_verified_tls(&self) -> bool {
        matches!(self.connect.get_ssl_mode(), PgSslMode::VerifyFull)
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("host", &self.connect.get_host())
            .field("port", &self.connect.get_port())
            .field("database", &self.connect.get_database())
            .field("user", &self.connect.get_username())
            .field("pool_size", &self.pool_size)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let options = PostgresOptions::new("postgres://u:hunter2@h:1/d?sslmode=verify-full").unwrap();
        assert!(!format!("{options:?}").contains("hunter2"));
        assert!(options.demands_verified_tls());
        let error = PostgresOptions::new("mysql://u:hunter2@h/d").unwrap_err();
        assert!(!format!("{error} {}", error.message()).contains("hunter2"));
    }
}
