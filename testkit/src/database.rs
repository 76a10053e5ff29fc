//! A database for one test, copied from a template that is migrated once.

use std::process::Stdio;

use anyhow::{Context, Error, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::spawn_blocking;

use crate::url::with_database;
use crate::{psql, random};

/// PostgreSQL cuts names at 63 bytes; this crate puts words around the caller's.
const TEMPLATE_NAME_MAX: usize = 32;
/// SQLSTATE `invalid_catalog_name`: there is no such database.
const NO_SUCH_DATABASE: &str = "3D000";

/// A database of one's own, dropped with this value.
///
/// Copying a template takes some 30 milliseconds, migrating an empty database usually more. Tests in other processes
/// that use the same server share the template: an advisory lock lets one of them make it while the others wait.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> anyhow::Result<()> {
/// use testkit::TestDatabase;
///
/// let database = TestDatabase::create("doc_example", async |url: &str| {
///     // Here a test runs its migrations on `url`.
///     assert!(url.starts_with("postgres"));
///     anyhow::Ok(())
/// })
/// .await?;
/// assert!(database.url().contains("testkit_db_"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    maintenance_url: String,
    name: String,
}

impl TestDatabase {
    /// Makes a database on the server of [`postgres()`](crate::postgres()).
    ///
    /// `template` names what `migrate` makes: other migrations need another name, such as [`template_name`] gives. Up to
    /// 32 characters of `a-z`, `0-9` and `_`. `migrate` gets the URL of an empty database, and runs only
    /// when the server does not have the template yet.
    ///
    /// # Errors
    /// When there is no server, the user may not create databases, or `migrate` fails.
    pub async fn create<E>(template: &str, migrate: impl AsyncFnOnce(&str) -> Result<(), E>) -> Result<Self>
    where
        E: Into<Error>,
    {
        let url = spawn_blocking(crate::postgres).await.context("starting PostgreSQL panicked")??;
        Self::create_on(url, template, migrate).await
    }

    /// Makes a database on the server that `url` leads to; the rest as [`TestDatabase::create`].
    ///
    /// # Errors
    /// As [`TestDatabase::create`].
    pub async fn create_on<E>(
        url: &str,
        template: &str,
        migrate: impl AsyncFnOnce(&str) -> Result<(), E>,
    ) -> Result<Self>
    where
        E: Into<Error>,
    {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        ensure!(
            (1..=TEMPLATE_NAME_MAX).contains(&template.len()) && template.chars().all(plain),
            "a template's name is 1 to {TEMPLATE_NAME_MAX} of a-z, 0-9 and _, not {template:?}"
        );
        let template = format!("testkit_template_{template}");
        let name = format!("testkit_db_{}_{}", std::process::id(), random::hex()?);
        let maintenance_url = with_database(url, "postgres");
        let database = Self { url: with_database(url, &name), maintenance_url, name };
        match database.copy(&template).await {
            Err(error) if format!("{error:#}").contains(NO_SUCH_DATABASE) => {
                database.make_template(&template, migrate).await?;
                database.copy(&template).await?;
            }
            result => result?,
        }
        Ok(database)
    }

    /// The URL of this database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The name of this database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL in this database and gives back what it prints.
    ///
    /// # Errors
    /// What the database says.
    pub async fn run(&self, sql: &str) -> Result<String> {
        let (url, sql) = (self.url.clone(), sql.to_owned());
        spawn_blocking(move || psql::run(&url, &sql)).await.context("running psql panicked")?
    }

    async fn copy(&self, template: &str) -> Result<()> {
        self.sql(format!("create database {} template {template}", self.name)).await
    }

    /// Makes the template under another name and renames it, so that nobody copies half of it.
    async fn make_template<E>(
        &self,
        template: &str,
        migrate: impl AsyncFnOnce(&str) -> Result<(), E>,
    ) -> Result<()>
    where
        E: Into<Error>,
    {
        let lock = Lock::acquire(&self.maintenance_url, template).await?;
        let already = format!("select 'made' from pg_database where datname = '{template}'");
        if self.query(already).await? != "made" {
            let unfinished = format!("{template}_unfinished");
            self.sql(format!("drop database if exists {unfinished} with (force)")).await?;
            self.sql(format!("create database {unfinished}")).await?;
            migrate(&with_database(&self.url, &unfinished))
                .await
                .map_err(Into::into)
                .context("the migration of the template failed")?;
            // A database with open connections can be neither renamed nor copied.
            let sessions = format!("pg_stat_activity where datname = '{unfinished}'");
            self.query(format!("select pg_terminate_backend(pid, 5000) from {sessions}")).await?;
            self.sql(format!("alter database {unfinished} rename to {template}")).await?;
        }
        lock.release().await
    }

    async fn sql(&self, sql: String) -> Result<()> {
        self.query(sql).await.map(drop)
    }

    async fn query(&self, sql: String) -> Result<String> {
        let url = self.maintenance_url.clone();
        spawn_blocking(move || psql::run(&url, &sql)).await.context("running psql panicked")?
    }
}

/// A name for the template that these statements make, for [`TestDatabase::create`]: other statements, another name, so that
/// a template which outlived its migrations on somebody's server is not used.
///
/// ```
/// let name = testkit::template_name("jobs", ["CREATE TABLE a (b int)"]);
/// assert_eq!(name, testkit::template_name("jobs", ["CREATE TABLE a (b int)"]));
/// assert_ne!(name, testkit::template_name("jobs", ["CREATE TABLE a (b text)"]));
/// ```
#[must_use]
pub fn template_name<'a>(purpose: &str, statements: impl IntoIterator<Item = &'a str>) -> String {
    // FNV-1a: the same in every build, unlike the standard library's hash.
    let bytes = statements.into_iter().flat_map(str::bytes);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{purpose}_{hash:016x}")
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // A server that has gone needs no cleaning, and a failure must not hide the test's own.
        let _ =
            psql::run(&self.maintenance_url, &format!("drop database if exists {} with (force)", self.name));
    }
}

/// An advisory lock of the server, held by a session that ends with this value.
struct Lock {
    session: Child,
}

impl Lock {
    async fn acquire(url: &str, name: &str) -> Result<Self> {
        let mut session = Command::from(psql::command(url)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run psql")?;
        let input = session.stdin.as_mut().context("psql has an input")?;
        let sql = format!("select 'locked' from pg_advisory_lock(hashtextextended('{name}', 0));\n");
        input.write_all(sql.as_bytes()).await.context("cannot write to psql")?;
        let output = session.stdout.take().context("psql has an output")?;
        match BufReader::new(output).lines().next_line().await.context("cannot read from psql")?.as_deref() {
            Some("locked") => Ok(Self { session }),
            answer => bail!("no advisory lock on the server: {answer:?}"),
        }
    }

    async fn release(mut self) -> Result<()> {
        // Waiting closes the input, which ends the session.
        self.session.wait().await.context("cannot wait for psql")?;
        Ok(())
    }
}
