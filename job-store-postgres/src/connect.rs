//! Connections with their guards: no statement runs for ever, no lock is waited for for ever, and no transaction stays
//! open when its client is gone.

use std::sync::Arc;
use std::time::Duration;

use job_core::{Clock, Error, ErrorKind, Result, RetryClass};
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgConnection, PgPool, Row};

use crate::connections::REST;
use crate::options::PostgresOptions;
use crate::{error, silence};

const VERSION_MIN: i32 = 130_000;

/// A pool that opens no connection yet.
pub(crate) fn pool(options: &PostgresOptions, clock: Arc<dyn Clock>) -> PgPool {
    let millis = |limit: Duration| limit.as_millis().to_string();
    let session = [
        ("statement_timeout", millis(options.statement_timeout)),
        ("lock_timeout", millis(options.lock_timeout)),
        ("idle_in_transaction_session_timeout", millis(options.idle_in_transaction_timeout)),
        ("tcp_keepalives_idle", "30".to_owned()),
        ("tcp_keepalives_interval", "10".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
        // Every statement here looks rows up or walks an index. A plan that was made for an empty table is kept while the
        // table grows, so the other ways must not look cheaper for a moment.
        ("enable_seqscan", "off".to_owned()),
        ("enable_bitmapscan", "off".to_owned()),
        ("enable_hashjoin", "off".to_owned()),
        ("enable_mergejoin", "off".to_owned()),
        ("enable_sort", "off".to_owned()),
        ("jit", "off".to_owned()),
        // Starting other processes takes longer than any of these statements may.
        ("max_parallel_workers_per_gather", "0".to_owned()),
        // Values never decide which index is right, and planning the larger statements costs more than running them.
        ("plan_cache_mode", "force_generic_plan".to_owned()),
    ];
    let connect = options.connect.clone().application_name(&options.application_name).options(session);
    PgPoolOptions::new()
        .max_connections(options.pool_size)
        .acquire_timeout(options.acquire_timeout)
        .max_lifetime(options.connection_lifetime)
        .test_before_acquire(false)
        .before_acquire(move |connection, state| {
            let clock = Arc::clone(&clock);
            Box::pin(async move {
                if state.idle_for > REST {
                    silence::ping(connection, clock.as_ref()).await?;
                }
                Ok(true)
            })
        })
        .connect_lazy_with(connect)
}

/// Whether the server is one that this store can work with.
pub(crate) async fn check_server(connection: &mut PgConnection) -> Result<()> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
                current_setting('server_encoding')",
    )
    .fetch_one(connection)
    .await
    .map_err(error::from_database)?;
    let decode = |result: Result<String, sqlx::Error>| result.map_err(error::from_database);
    let number: i32 = row.try_get(0).map_err(error::from_database)?;
    let (version, encoding) = (decode(row.try_get(1))?, decode(row.try_get(2))?);
    let refuse =
        |message: String| Err(Error::new(ErrorKind::Unsupported, message).with_retry(RetryClass::Permanent));
    if number < VERSION_MIN {
        return refuse(format!("the database is PostgreSQL {version}: 13 or newer is needed"));
    }
    if encoding != "UTF8" {
        return refuse(format!("the database has the encoding {encoding}: UTF8 is needed"));
    }
    Ok(())
}
