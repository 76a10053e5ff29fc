//! What a test may choose about its RabbitMQ server.

/// Settings of a private RabbitMQ server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RabbitOptions {
    /// Lines of `rabbitmq.conf`, name and value; they win over the defaults of this crate.
    pub settings: Vec<(String, String)>,
}

impl RabbitOptions {
    /// Adds one setting.
    #[must_use]
    pub fn with_setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }
}
