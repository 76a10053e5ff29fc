//! Noticing that the database is gone without a word, as after a power cut, or behind a firewall that has forgotten the
//! connection. Nothing answers then and nothing fails either: the kernel goes on sending for a quarter of an hour, and
//! waits for ever when there is nothing to send. No time-out of the server helps, and the driver has none of its own.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use job_core::{Clock, ClockExt};
use sqlx::{Connection, PgConnection, PgPool};

/// How long work may take before somebody looks whether the server is still there, and again after that.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the server may take to answer that it is.
const ANSWER: Duration = Duration::from_secs(5);
/// How long a connection that did nothing for a while, or has just done its work, may take to answer a ping.
pub(crate) const PING: Duration = Duration::from_secs(2);

/// For how long the server must have been waiting for a connection's next word, while we wait for its answer, to tell that
/// nothing passes there any more. Between two statements it waits as well, but not so long.
const IDLE: &str = "4 s";

/// The server's process at the other end of a connection; not known before there is one.
#[derive(Debug, Default)]
pub(crate) struct Backend(AtomicI32);

impl Backend {
    pub(crate) fn is(&self, process: i32) {
        self.0.store(process, Ordering::Relaxed);
    }
}

/// Completes when the server does not answer any more, or has nothing to answer on this connection, as when it was forgotten
/// on the way; or after `patience`, whatever it does. Statements that merely take long are left alone.
pub(crate) async fn until_gone(
    pool: &PgPool,
    clock: &dyn Clock,
    patience: Duration,
    backend: &Backend,
) -> sqlx::Error {
    let begun = clock.now();
    loop {
        clock.sleep(SILENCE).await;
        if clock.now().since(begun) >= patience || !is_there(pool, clock, backend).await {
            return silent();
        }
    }
}

/// Whether the server answers on a new connection; that it takes no more of them is an answer as well.
async fn is_there(pool: &PgPool, clock: &dyn Clock, backend: &Backend) -> bool {
    let options = pool.connect_options();
    let asking = async {
        match PgConnection::connect_with(&options).await {
            Ok(mut connection) => {
                let is_at_work = is_at_work(&mut connection, backend).await;
                // The answer to a farewell is of no interest.
                let _ = connection.close().await;
                is_at_work
            }
            Err(error) => matches!(error, sqlx::Error::Database(_)),
        }
    };
    clock.timeout(ANSWER, asking).await.unwrap_or(false)
}

/// Whether the server's side of a connection does something, as far as the server tells.
async fn is_at_work(connection: &mut PgConnection, backend: &Backend) -> bool {
    let process = backend.0.load(Ordering::Relaxed);
    if process == 0 {
        return true;
    }
    let at_work = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_stat_activity
             WHERE pid = $1 AND (state LIKE 'idle%' AND clock_timestamp() - state_change > $2::text::interval) IS NOT TRUE)",
    );
    at_work.bind(process).bind(IDLE).fetch_one(connection).await.unwrap_or(true)
}

/// Whether a connection still answers.
pub(crate) async fn ping(connection: &mut PgConnection, clock: &dyn Clock) -> Result<(), sqlx::Error> {
    clock.timeout(PING, connection.ping()).await.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> sqlx::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the database does not answer").into()
}
