//! Versions of the schema: plain SQL files, applied in order, in one transaction, by one process at a time.
//!
//! What was applied is remembered with its checksum, so that a file that was changed afterwards is noticed, and a schema
//! that is newer than this program is refused instead of misunderstood.

use job_core::{Error, ErrorKind, Result, RetryClass};
use sha2::{Digest, Sha256};
use sqlx::{Executor, PgConnection, Row};

use crate::error;

/// One version of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// Counts from 1.
    pub version: i32,
    /// What it is about.
    pub name: &'static str,
    /// What is run.
    pub sql: &'static str,
}

const ALL: [Migration; 3] = [
    Migration { version: 1, name: "jobs", sql: include_str!("../migrations/0001_jobs.sql") },
    Migration { version: 2, name: "kept tasks", sql: include_str!("../migrations/0002_kept_tasks.sql") },
    Migration {
        version: 3,
        name: "suspended partitions",
        sql: include_str!("../migrations/0003_suspended_partitions.sql"),
    },
];

/// Every version, in the order in which they are applied.
#[must_use]
pub fn migrations() -> &'static [Migration] {
    &ALL
}

/// What brings an empty schema, or one of the version `from`, to the newest version: a script for `psql`, in one
/// transaction, for whoever does not give this program the right to create tables.
#[must_use]
pub fn migration_script(from: i32) -> String {
    let mut script = format!("BEGIN;\n\n{LOCK};\n{PREPARE};\n");
    for migration in ALL.iter().filter(|migration| migration.version > from) {
        script.push_str(&format!(
            "\n-- Version {version}: {name}\n\n{sql}\n\nINSERT INTO job_schema_version (version, name, checksum) \
             VALUES ({version}, '{name}', '{checksum}');\n",
            version = migration.version,
            name = migration.name,
            sql = migration.sql.trim_end(),
            checksum = migration.checksum(),
        ));
    }
    script.push_str("\nCOMMIT;\n");
    script
}

impl Migration {
    fn checksum(&self) -> String {
        Sha256::digest(self.sql).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Any number, the same in every process that migrates.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7236098123454321)";

const PREPARE: &str = "
    SET LOCAL statement_timeout = 0;
    SET LOCAL lock_timeout = 0;
    CREATE TABLE IF NOT EXISTS job_schema_version (
        version integer PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    )";

/// Brings the schema up to date and returns which versions were applied. Runs inside a transaction of the caller.
pub(crate) async fn migrate(connection: &mut PgConnection) -> Result<Vec<i32>, sqlx::Error> {
    connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
    connection.execute(LOCK).await?;
    connection.execute(PREPARE).await?;
    let known = applied(connection).await?;
    let mut fresh = Vec::new();
    // What contradicts is found by `check`, which the caller runs afterwards.
    for migration in &ALL[known.len().min(ALL.len())..] {
        connection.execute(migration.sql).await?;
        sqlx::query("INSERT INTO job_schema_version (version, name, checksum) VALUES ($1, $2, $3)")
            .bind(migration.version)
            .bind(migration.name)
            .bind(migration.checksum())
            .execute(&mut *connection)
            .await?;
        fresh.push(migration.version);
    }
    Ok(fresh)
}

/// Whether the schema is the one that this program was written for.
pub(crate) async fn validate(connection: &mut PgConnection) -> Result<()> {
    let applied = match applied(connection).await {
        Ok(applied) => applied,
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Vec::new(),
        Err(error) => return Err(error::from_database(error)),
    };
    check(&applied)
        .map_err(|message| Error::new(ErrorKind::Unsupported, message).with_retry(RetryClass::Permanent))
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<(i32, String)>, sqlx::Error> {
    let rows = sqlx::query("SELECT version, checksum FROM job_schema_version ORDER BY version")
        .persistent(false)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn check(applied: &[(i32, String)]) -> Result<(), String> {
    let newest = ALL.len();
    if applied.len() > newest {
        return Err(format!(
            "the database has schema version {}, and this program knows only {newest}: use a newer program",
            applied.len()
        ));
    }
    for (migration, (version, checksum)) in ALL.iter().zip(applied) {
        if migration.version != *version || migration.checksum() != *checksum {
            return Err(format!(
                "schema version {} of the database differs from that of this program",
                migration.version
            ));
        }
    }
    if applied.len() < newest {
        return Err(format!(
            "the database has schema version {}, and this program needs {newest}: run the migration",
            applied.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> Vec<(i32, String)> {
        ALL.iter().map(|migration| (migration.version, migration.checksum())).collect()
    }

    #[test]
    fn only_the_schema_of_this_program_is_accepted() {
        assert_eq!(check(&current()), Ok(()));
        assert!(check(&[]).unwrap_err().contains("version 0"));
        let mut newer = current();
        newer.push((99, String::new()));
        assert!(check(&newer).unwrap_err().contains("use a newer program"));
        let mut changed = current();
        changed[0].1.push('x');
        assert!(check(&changed).unwrap_err().contains("differs"));
    }

    #[test]
    fn versions_count_from_one() {
        for (place, migration) in ALL.iter().enumerate() {
            assert_eq!(migration.version as usize, place + 1);
        }
    }
}
