//! From the broker's and lapin's errors to the engine's.

use job_core::{Error, ErrorKind, RetryClass};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Why something asked of the broker was not done.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// lapin says so, often on the broker's behalf.
    Lapin(lapin::Error),
    /// There is no connection now.
    Down(String),
    /// It lets nobody publish.
    Blocked(String),
    /// The broker did not answer in time.
    Silent,
    /// [`AmqpQueue::close`](crate::AmqpQueue) was called.
    Closed,
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        Self::Lapin(error)
    }
}

impl Failure {
    /// The channel-level refusal in it, if it is one.
    pub(crate) fn refusal(&self) -> Option<&AMQPSoftError> {
        match self {
            Self::Lapin(error) => refusal(error),
            _ => None,
        }
    }

    /// For an outcome or a log.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Lapin(error) => reason(error),
            Self::Down(why) => format!("the broker cannot be reached: {why}"),
            Self::Blocked(why) => format!("blocked: the broker lets nobody publish at present ({why})"),
            Self::Silent => "the broker did not answer in time".to_owned(),
            Self::Closed => "the connection to the queues is closed".to_owned(),
        }
    }

    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        let reason = self.reason();
        let (kind, retry) = match self.refusal() {
            // Without somebody granting it, asking again is pointless.
            Some(AMQPSoftError::ACCESSREFUSED | AMQPSoftError::PRECONDITIONFAILED) => {
                (ErrorKind::Invalid, RetryClass::Permanent)
            }
            Some(AMQPSoftError::NOTFOUND) => (ErrorKind::NotFound, RetryClass::Transient),
            // Locked by another connection for as long as that lives.
            Some(AMQPSoftError::RESOURCELOCKED) => (ErrorKind::Conflict, RetryClass::Transient),
            _ => (ErrorKind::Unavailable, RetryClass::Transient),
        };
        let error = Error::new(kind, reason).with_retry(retry).with_operation(operation);
        match self {
            Self::Lapin(source) => error.with_source(source),
            _ => error,
        }
    }
}

/// A refusal that closed one channel and left the connection open.
pub(crate) fn refusal(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(refusal) => Some(refusal),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// What it says, in words.
pub(crate) fn reason(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(error) => format!("the broker says: {}", error.get_message()),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::{AMQPError, AMQPHardError};

    fn said(kind: impl Into<AMQPErrorKind>) -> Error {
        let error = AMQPError::new(kind.into(), "TEXT".into());
        Failure::from(lapin::Error::from(lapin::ErrorKind::ProtocolError(error))).into_error("queue::declare")
    }

    #[test]
    fn reply_codes_become_kinds() {
        for (error, kind, transient) in [
            (said(AMQPSoftError::ACCESSREFUSED), ErrorKind::Invalid, false),
            (said(AMQPSoftError::PRECONDITIONFAILED), ErrorKind::Invalid, false),
            (said(AMQPSoftError::NOTFOUND), ErrorKind::NotFound, true),
            (said(AMQPSoftError::RESOURCELOCKED), ErrorKind::Conflict, true),
            (said(AMQPSoftError::CONTENTTOOLARGE), ErrorKind::Unavailable, true),
            (said(AMQPHardError::CONNECTIONFORCED), ErrorKind::Unavailable, true),
            (said(AMQPHardError::INTERNALERROR), ErrorKind::Unavailable, true),
            (Failure::Silent.into_error("o"), ErrorKind::Unavailable, true),
            (Failure::Blocked("low on memory".into()).into_error("o"), ErrorKind::Unavailable, true),
            (Failure::Closed.into_error("o"), ErrorKind::Unavailable, true),
            (Failure::Down("refused".into()).into_error("o"), ErrorKind::Unavailable, true),
            (
                Failure::from(lapin::Error::from(std::io::Error::other("gone"))).into_error("o"),
                ErrorKind::Unavailable,
                true,
            ),
        ] {
            assert_eq!((error.kind(), error.is_transient()), (kind, transient), "{error:?}");
        }
    }

    #[test]
    fn the_brokers_words_are_kept() {
        assert_eq!(said(AMQPSoftError::NOTFOUND).message(), "the broker says: TEXT");
    }
}
