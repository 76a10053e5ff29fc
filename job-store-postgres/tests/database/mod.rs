//! A store on a database of its own.

use std::sync::Arc;

use job_core::SystemClock;
use job_store_postgres::{PostgresOptions, PostgresStore, migrations};
use testkit::{TestDatabase, template_name};

pub(crate) async fn fresh() -> TestDatabase {
    let template = template_name("jobs", migrations().iter().map(|migration| migration.sql));
    TestDatabase::create(&template, async |url: &str| {
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
