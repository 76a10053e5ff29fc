//! What a test may choose about its PostgreSQL server.

/// Settings of a private PostgreSQL server.
///
/// By default the server does not force its writes to the disk. Committed data still survives the end of its processes,
/// even by SIGKILL, but would not survive a crash of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostgresOptions {
    /// Lines of `postgresql.conf`, name and value; they win over the defaults of this crate.
    pub settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// Writes reach the disk before a commit returns, as in production.
    #[must_use]
    pub fn durable() -> Self {
        Self::default().with_setting("fsync", "on").with_setting("full_page_writes", "on")
    }

    /// Adds one setting.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}
