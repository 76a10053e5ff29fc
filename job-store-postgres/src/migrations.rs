//! Versions of the schema: plain SQL files, applied in order, in one transaction, by one process at a time.
//!
//! What was applied is remembered with its checksum, so that a file that was changed afterwards is noticed, and a schema
//! that is newer than this program is refused instead of misunderstood.

use std::fmt;

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

const ALL: [Migration; 10] = [
    Migration { version: 1, name: "jobs", sql: include_str!("../migrations/0001_jobs.sql") },
    Migration { version: 2, name: "kept tasks", sql: include_str!("../migrations/0002_kept_tasks.sql") },
    Migration {
        version: 3,
        name: "suspended partitions",
        sql: include_str!("../migrations/0003_suspended_partitions.sql"),
    },
    Migration {
        version: 4,
        name: "room for new versions",
        sql: include_str!("../migrations/0004_room_for_new_versions.sql"),
    },
    Migration {
        version: 5,
        name: "leases in place",
        sql: include_str!("../migrations/0005_leases_in_place.sql"),
    },
    Migration {
        version: 6,
        name: "progress in its rows",
        sql: include_str!("../migrations/0006_progress_in_its_rows.sql"),
    },
    Migration {
        version: 7,
        name: "fewer entries",
        sql: include_str!("../migrations/0007_fewer_entries.sql"),
    },
    Migration { version: 8, name: "waited for", sql: include_str!("../migrations/0008_waited_for.sql") },
    Migration {
        version: 9,
        name: "leases together",
        sql: include_str!("../migrations/0009_leases_together.sql"),
    },
    Migration {
        version: 10,
        name: "all prerequisites",
        sql: include_str!("../migrations/0010_all_prerequisites.sql"),
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

/// How the schema of a database stands to the one that this program was written for. Its text is a sentence for the
/// operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaState {
    /// It is that one.
    UpToDate,
    /// A migration brings it up to date. Version 0 is an empty database.
    Older {
        /// The version of the database.
        found: usize,
    },
    /// Only a newer program understands it.
    Newer {
        /// The version of the database.
        found: usize,
    },
    /// It was made by something else, or its record was changed by hand.
    Different {
        /// The first version that is not as this program knows it.
        version: i32,
    },
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest = ALL.len();
        match self {
            Self::UpToDate => write!(f, "the database has schema version {newest}, which this program needs"),
            Self::Older { found } => write!(
                f,
                "the database has schema version {found}, and this program needs {newest}: run the migration"
            ),
            Self::Newer { found } => write!(
                f,
                "the database has schema version {found}, and this program knows only {newest}: use a newer program"
            ),
            Self::Different { version } => {
                write!(f, "schema version {version} of the database differs from that of this program")
            }
        }
    }
}

/// How the schema stands.
pub(crate) async fn state(connection: &mut PgConnection) -> Result<SchemaState> {
    match applied(connection).await {
        Ok(applied) => Ok(compare(&applied)),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Ok(compare(&[])),
        Err(error) => Err(error::from_database(error)),
    }
}

/// Nothing, when the schema is the one that this program was written for.
pub(crate) fn insist(state: SchemaState) -> Result<()> {
    match state {
        SchemaState::UpToDate => Ok(()),
        state => Err(Error::new(ErrorKind::Unsupported, state.to_string()).with_retry(RetryClass::Permanent)),
    }
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<(i32, String)>, sqlx::Error> {
    let rows = sqlx::query("SELECT version, checksum FROM job_schema_version ORDER BY version")
        .persistent(false)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

fn compare(applied: &[(i32, String)]) -> SchemaState {
    let (found, newest) = (applied.len(), ALL.len());
    let differs = |(migration, (version, checksum)): &(&Migration, &(i32, String))| {
        migration.version != *version || migration.checksum() != *checksum
    };
    if found > newest {
        SchemaState::Newer { found }
    } else if let Some((migration, _)) = ALL.iter().zip(applied).find(differs) {
        SchemaState::Different { version: migration.version }
    } else if found < newest {
        SchemaState::Older { found }
    } else {
        SchemaState::UpToDate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current() -> Vec<(i32, String)> {
        ALL.iter().map(|migration| (migration.version, migration.checksum())).collect()
    }

    #[test]
    fn only_the_schema_of_this_program_is_accepted() {
        let refused = |applied: &[(i32, String)]| {
            let state = compare(applied);
            assert!(insist(state).is_err());
            (state, state.to_string())
        };
        assert!(insist(compare(&current())).is_ok());
        let (state, sentence) = refused(&[]);
        assert!(state == SchemaState::Older { found: 0 } && sentence.contains("version 0"), "{sentence}");
        let mut newer = current();
        newer.push((99, String::new()));
        let (state, sentence) = refused(&newer);
        assert!(matches!(state, SchemaState::Newer { .. }) && sentence.contains("use a newer program"));
        let mut changed = current();
        changed[0].1.push('x');
        let (state, sentence) = refused(&changed);
        assert!(state == SchemaState::Different { version: 1 } && sentence.contains("differs"), "{sentence}");
    }

    #[test]
    fn versions_count_from_one() {
        for (place, migration) in ALL.iter().enumerate() {
            assert_eq!(migration.version as usize, place + 1);
        }
    }
}
