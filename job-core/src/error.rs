//! The one error type of the engine.

use std::fmt;

/// What went wrong, in terms a caller can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the call names does not exist.
    NotFound,
    /// A different thing of the same name exists already.
    AlreadyExists,
    /// The call lost against a concurrent one; trying again from a fresh read may succeed.
    Conflict,
    /// The caller's input is wrong; the message says what would be right.
    Invalid,
    /// The job's status does not allow the action.
    IllegalTransition,
    /// There are as many as there may be; when some are gone, the call may succeed.
    LimitReached,
    /// A backend cannot be reached or is overloaded.
    Unavailable,
    /// This backend cannot do that.
    Unsupported,
    /// Stored data cannot be understood.
    Corrupt,
    /// A defect or an unexpected answer of a backend.
    Internal,
}

/// Whether the same call may succeed later without anybody changing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryClass {
    /// Trying again is pointless.
    Permanent,
    /// Trying again, with back-off, is right: nothing of the failed call took effect, or it is idempotent.
    Transient,
}

/// An error of the engine or of a backend.
///
/// [`message`](Self::message) is a sentence for whoever made the call and holds no SQL, path or secret; `Display`
/// adds the operation and its context for a log; the cause is behind [`source`](std::error::Error::source).
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: RetryClass,
    message: String,
    operation: &'static str,
    context: Vec<(&'static str, String)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of a fallible call of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; [`ErrorKind::Unavailable`], [`ErrorKind::Conflict`] and [`ErrorKind::LimitReached`] start as
    /// transient, all others as permanent.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::LimitReached => RetryClass::Transient,
            _ => RetryClass::Permanent,
        };
        let message = message.into();
        Self(Box::new(Inner { kind, retry, message, operation: "", context: Vec::new(), source: None }))
    }

    /// The caller's input is wrong.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// A backend cannot be reached.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Names the operation that failed, as `module::verb`; the innermost name stays.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        if self.0.operation.is_empty() {
            self.0.operation = operation;
        }
        self
    }

    /// Adds what the operation worked on, such as `("job", id)`. Never a payload, a label or a secret.
    #[must_use]
    pub fn with_context(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.context.push((name, value.into()));
        self
    }

    /// Keeps the cause for logs.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Overrides the retry class that the kind implies.
    #[must_use]
    pub fn with_retry(mut self, retry: RetryClass) -> Self {
        self.0.retry = retry;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn retry_class(&self) -> RetryClass {
        self.0.retry
    }

    /// Shorthand for `retry_class() == RetryClass::Transient`.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.0.retry == RetryClass::Transient
    }

    /// The sentence for whoever made the call.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation that failed; empty when nobody named it.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.operation.is_empty() {
            write!(f, "{}: ", self.0.operation)?;
        }
        f.write_str(&self.0.message)?;
        for (name, value) in &self.0.context {
            write!(f, " {name}={value:?}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("operation", &self.0.operation)
            .field("message", &self.0.message)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_for_the_caller_and_display_for_the_log() {
        let error = Error::unavailable("the store cannot be reached")
            .with_operation("store::get")
            .with_operation("service::get")
            .with_context("job", "j1")
            .with_source("connection refused");
        assert_eq!(error.message(), "the store cannot be reached");
        assert_eq!(error.to_string(), "store::get: the store cannot be reached job=\"j1\"");
        assert!(error.is_transient());
        assert_eq!(
            std::error::Error::source(&error).map(ToString::to_string).as_deref(),
            Some("connection refused")
        );
    }

    #[test]
    fn only_what_passes_by_itself_is_transient_by_itself() {
        assert!(Error::new(ErrorKind::Conflict, "").is_transient());
        assert!(Error::new(ErrorKind::LimitReached, "").is_transient());
        assert!(!Error::new(ErrorKind::Internal, "").is_transient());
        assert!(Error::new(ErrorKind::Internal, "").with_retry(RetryClass::Transient).is_transient());
    }
}
