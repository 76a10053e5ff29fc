//! A store on a database of its own.

use std::sync::Arc;

use job_core::SystemClock;
use job_store_postgres::{PostgresOptions, PostgresStore, migrations};
use testkit::TestDatabase;

/// Other migrations need another template.
fn template() -> String {
    let sql = migrations().iter().flat_map(|migration| migration.sql.bytes());
    let hash = sql
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("jobs_{hash:016x}")
}

pub(crate) async fn fresh() -> TestDatabase {
    TestDatabase::create(&template(), async |url: &str| {
        let store = connect(url).await;
        store.migrate().await?;
        store.close().await;
        anyhow::Ok(())
    })
    .await
    .expect("a database of one's own")
}

pub(crate) async fn connect(url: &str) -> PostgresStore {
    let options = PostgresOptions::new(url).expect("testkit gives a valid URL");
    PostgresStore::connect(options, Arc::new(SystemClock::new())).await.expect("the database is there")
}
