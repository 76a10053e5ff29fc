//! What an error of the driver means: one table by SQLSTATE.

use std::error::Error as _;
use std::io;

use job_core::{Error, ErrorKind, RetryClass};
use sqlx::error::DatabaseError;

/// Whether running the whole step again may succeed; every step is idempotent, so a lost answer is no obstacle.
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => is_passing_state(&state(error.as_ref())),
        sqlx::Error::PoolTimedOut => true,
        _ => is_lost(error),
    }
}

fn is_passing_state(state: &str) -> bool {
    matches!(
        state,
        // Serialisation failure, deadlock, lock not available, a time-out of ours.
        "40001" | "40P01" | "55P03" | "57014"
        // Read-only (a standby that is about to take over), or an aborted transaction.
        | "25006" | "25P02" | "25P03"
    ) || ["08", "53", "57P0"].iter().any(|class| state.starts_with(class))
}

fn state(error: &dyn DatabaseError) -> String {
    error.code().map(|code| code.into_owned()).unwrap_or_default()
}

/// Whether a lock that was not to be waited for is held by somebody else.
pub(crate) fn is_lock_not_available(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if state(error.as_ref()) == "55P03")
}

/// Whether the session may not write. A session keeps that from its beginning, also when the server has long become
/// writable, or another one has taken over.
pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if state(error.as_ref()) == "25006")
}

/// Whether the connection is of no more use.
pub(crate) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        // The server says so before it closes a connection.
        sqlx::Error::Database(error) => {
            ["08", "57P0"].iter().any(|class| state(error.as_ref()).starts_with(class))
        }
        // A server that goes away in the middle of a message leaves the rest of it unread.
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Whether a row of this key exists already.
pub(crate) fn is_unique_violation(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if state(error.as_ref()) == "23505")
}

pub(crate) fn from_database(error: sqlx::Error) -> Error {
    let (kind, retry, message) = match &error {
        sqlx::Error::Database(database) => of_state(&state(database.as_ref())),
        sqlx::Error::Io(io) => of_io(io),
        sqlx::Error::PoolTimedOut => unavailable(
            "no connection to the database was to be had in time: all are busy, or it does not answer",
        ),
        sqlx::Error::PoolClosed => unavailable("the store is closed"),
        sqlx::Error::Tls(_) => (
            ErrorKind::Unavailable,
            RetryClass::Permanent,
            "no trusted connection to the database is possible",
        ),
        sqlx::Error::WorkerCrashed | sqlx::Error::Protocol(_) => {
            unavailable("the connection to the database was lost")
        }
        sqlx::Error::Configuration(_) => {
            (ErrorKind::Invalid, RetryClass::Permanent, "the settings of the database connection are wrong")
        }
        _ => {
            (ErrorKind::Internal, RetryClass::Permanent, "the database gave an answer that was not expected")
        }
    };
    Error::new(kind, message).with_retry(retry).with_source(error)
}

const fn unavailable(message: &'static str) -> (ErrorKind, RetryClass, &'static str) {
    (ErrorKind::Unavailable, RetryClass::Transient, message)
}

fn of_io(error: &io::Error) -> (ErrorKind, RetryClass, &'static str) {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused
        || error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>())
            .is_some_and(|source| source.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        return unavailable("the database cannot be reached: nothing answers at its address");
    }
    if error.kind() == io::ErrorKind::TimedOut {
        return unavailable("the database does not answer");
    }
    unavailable("the database cannot be reached")
}

fn of_state(state: &str) -> (ErrorKind, RetryClass, &'static str) {
    let permanent = |kind, message| (kind, RetryClass::Permanent, message);
    match state {
        "28000" | "28P01" => permanent(ErrorKind::Unavailable, "the database refuses the login"),
        "3D000" => permanent(ErrorKind::Unavailable, "the database of that name does not exist"),
        "42P01" | "42703" | "3F000" => permanent(
            ErrorKind::Unavailable,
            "the database lacks the tables of this version: run the migration",
        ),
        "42501" => permanent(ErrorKind::Unavailable, "the database role may not do this"),
        "25006" => unavailable("the database is read-only at the moment"),
        "57P03" => unavailable("the database is starting or stopping"),
        "57014" => unavailable("the database took too long"),
        "40001" | "40P01" | "55P03" | "25P02" | "25P03" => {
            unavailable("the database is too busy with other work on the same jobs")
        }
        "53100" => unavailable("the disk of the database is full"),
        "53300" => unavailable("the database accepts no more connections"),
        "23505" => {
            (ErrorKind::Conflict, RetryClass::Transient, "somebody else wrote the same at the same time")
        }
        "22021" | "22P05" => permanent(ErrorKind::Invalid, "a text holds a character that cannot be stored"),
        "54000" | "54001" | "22001" => permanent(ErrorKind::Invalid, "a value is too large to be stored"),
        "XX001" | "XX002" => permanent(ErrorKind::Corrupt, "the database reports damaged data"),
        _ if state.starts_with("08") => unavailable("the connection to the database was lost"),
        _ if state.starts_with("53") => unavailable("the database is out of resources"),
        _ if state.starts_with("57P0") => unavailable("the database is being restarted"),
        _ => permanent(ErrorKind::Internal, "the database refused a statement"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_meaning() {
        use ErrorKind::{Conflict, Corrupt, Internal, Invalid, Unavailable};
        for (state, kind, is_transient, is_retried) in [
            ("40001", Unavailable, true, true),
            ("40P01", Unavailable, true, true),
            ("55P03", Unavailable, true, true),
            ("57014", Unavailable, true, true),
            ("08006", Unavailable, true, true),
            ("57P01", Unavailable, true, true),
            ("57P03", Unavailable, true, true),
            ("53100", Unavailable, true, true),
            ("53200", Unavailable, true, true),
            ("53300", Unavailable, true, true),
            ("25006", Unavailable, true, true),
            ("25P02", Unavailable, true, true),
            ("28P01", Unavailable, false, false),
            ("3D000", Unavailable, false, false),
            ("42P01", Unavailable, false, false),
            ("42501", Unavailable, false, false),
            ("23505", Conflict, true, false),
            ("22021", Invalid, false, false),
            ("XX001", Corrupt, false, false),
            ("42601", Internal, false, false),
            ("", Internal, false, false),
        ] {
            let (found, retry, message) = of_state(state);
            assert_eq!((found, retry == RetryClass::Transient), (kind, is_transient), "{state}");
            assert_eq!(is_passing_state(state), is_retried, "{state}");
            assert!(!message.is_empty());
        }
    }

    #[test]
    fn connection_troubles_are_passing() {
        let refused = || sqlx::Error::Io(io::ErrorKind::ConnectionRefused.into());
        assert!(is_passing(&refused()));
        assert!(from_database(refused()).message().contains("nothing answers"));
        assert!(is_passing(&sqlx::Error::PoolTimedOut));
        assert!(!is_passing(&sqlx::Error::RowNotFound));
        assert!(!is_passing(&sqlx::Error::PoolClosed));
        assert_eq!(from_database(sqlx::Error::RowNotFound).kind(), ErrorKind::Internal);
    }
}
