//! Databases for single tests come from one template, whoever asks first.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use testkit::{PostgresServer, TestDatabase};

fn psql(url: &str, sql: &str) -> Result<()> {
    let status = std::process::Command::new("psql").args(["-X", "-q", "-d", url, "-c", sql]).status()?;
    anyhow::ensure!(status.success(), "psql failed: {sql}");
    Ok(())
}

#[tokio::test]
async fn one_migration_serves_many_databases() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.url("postgres");
    let migrations = AtomicUsize::new(0);
    let create = || {
        TestDatabase::create_on(&url, "counted", async |url: &str| {
            migrations.fetch_add(1, Ordering::Relaxed);
            // Whoever else wants the template has time to get in the way.
            tokio::task::yield_now().await;
            psql(url, "create table migrated (value int)")
        })
    };
    let (first, second, third) = tokio::try_join!(create(), create(), create())?;
    assert_eq!(migrations.load(Ordering::Relaxed), 1);

    server.sql(first.name(), "insert into migrated values (1)")?;
    assert_eq!(server.sql(first.name(), "select count(*) from migrated")?, "1");
    for other in [&second, &third] {
        assert_eq!(server.sql(other.name(), "select count(*) from migrated")?, "0");
    }

    drop((first, second, third));
    let left = "select string_agg(datname, ' ') from pg_database where datname like 'testkit%'";
    assert_eq!(server.sql("postgres", left)?, "testkit_template_counted");
    Ok(())
}

#[tokio::test]
async fn a_failed_migration_leaves_no_template() -> Result<()> {
    let server = PostgresServer::start()?;
    let url = server.url("postgres");
    let failed = TestDatabase::create_on(&url, "flawed", async |url: &str| {
        psql(url, "create table half (value int)")?;
        bail!("no further")
    })
    .await
    .expect_err("the migration fails");
    assert!(format!("{failed:#}").contains("no further"), "{failed:#}");

    let database = TestDatabase::create_on(&url, "flawed", async |url: &str| {
        psql(url, "create table whole (value int)")
    })
    .await?;
    let tables = "select string_agg(tablename, ' ') from pg_tables where schemaname = 'public'";
    assert_eq!(server.sql(database.name(), tables)?, "whole");
    Ok(())
}

#[tokio::test]
async fn an_open_connection_of_the_migration_is_no_obstacle() -> Result<()> {
    let server = PostgresServer::start()?;
    let mut kept = None;
    TestDatabase::create_on(&server.url("postgres"), "kept_open", async |url: &str| {
        let mut session = std::process::Command::new("psql");
        session.args(["-X", "-q", "-d", url]).stdin(std::process::Stdio::piped());
        kept = Some(session.stderr(std::process::Stdio::null()).spawn()?);
        let connected = "do $$ begin while not exists (select from pg_stat_activity \
            where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend') \
            loop perform pg_stat_clear_snapshot(); perform pg_sleep(0.01); end loop; end $$";
        psql(url, connected)
    })
    .await?;
    let mut session = kept.expect("the migration has run");
    let killed = session.kill();
    session.wait()?;
    Ok(killed?)
}

#[tokio::test]
async fn a_name_that_sql_would_need_to_quote_is_refused() {
    for name in ["", "Upper", "a b", "x\"; drop", "123456789012345678901234567890123"] {
        let refused =
            TestDatabase::create_on("postgres://nowhere.invalid/", name, async |_: &str| anyhow::Ok(()));
        let error = refused.await.expect_err("the name is bad");
        assert!(error.to_string().contains("a template's name"), "{error}");
    }
}
