//! Noticing that the database is gone without a word, as after a power cut, or behind a firewall that has forgotten the
//! connection. Nothing answers then and nothing fails either: the kernel goes on sending for a quarter of an hour, and
//! waits for ever when there is nothing to send. No time-out of the server helps, and the driver has none of its own.

use std::io;
use std::time::Duration;

use job_core::{Clock, ClockExt};
use sqlx::{Connection, PgConnection, PgPool};

/// How long work may take before somebody looks whether the server is still there, and again after that.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the server may take to answer that it is.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a connection that did nothing for a while, or has just done its work, may take to answer a ping.
pub(crate) const PING: Duration = Duration::from_secs(2);

/// Completes when the server does not answer any more, or after `patience` even if it does: then it is this one
/// connection that is dead. Statements that merely take long are left alone.
pub(crate) async fn until_gone(pool: &PgPool, clock: &dyn Clock, patience: Duration) -> sqlx::Error {
    let begun = clock.now();
    loop {
        clock.sleep(SILENCE).await;
        if clock.now().since(begun) >= patience || !is_there(pool, clock).await {
            return silent();
        }
    }
}

/// Whether the server answers on a new connection; that it takes no more of them is an answer as well.
async fn is_there(pool: &PgPool, clock: &dyn Clock) -> bool {
    let options = pool.connect_options();
    let asking = async {
        match PgConnection::connect_with(&options).await {
            Ok(connection) => {
                // The answer to a farewell is of no interest.
                let _ = connection.close().await;
                true
            }
            Err(error) => matches!(error, sqlx::Error::Database(_)),
        }
    };
    clock.timeout(ANSWER, asking).await.unwrap_or(false)
}

/// Whether a connection still answers.
pub(crate) async fn ping(connection: &mut PgConnection, clock: &dyn Clock) -> Result<(), sqlx::Error> {
    clock.timeout(PING, connection.ping()).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the database does not answer").into()
}
