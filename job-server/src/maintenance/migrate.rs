//! The command `migrate`.
#![expect(clippy::print_stdout, reason = "the command speaks to whoever typed it")]

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use job_store_postgres::{migration_script, migrations};

use super::NO_DATABASE;
use crate::backends::{StoreArguments, connect};

/// Bring the schema of the database up to date.
#[derive(Debug, Args)]
pub struct MigrateArguments {
    /// `validate` changes nothing and only says whether the schema is the one this program needs.
    #[arg(value_enum)]
    mode: Option<Mode>,
    /// Print the SQL instead of running it; needs no database.
    #[arg(long, conflicts_with = "mode")]
    print: bool,
    /// With `--print`: only what is newer than this version of the schema.
    #[arg(long, value_name = "VERSION", requires = "print", default_value_t = 0)]
    from: i32,
    #[command(flatten)]
    store: StoreArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Validate,
}

/// Migrates, validates or prints; 0 when the schema is up to date at the end.
pub(crate) async fn run(arguments: &MigrateArguments) -> anyhow::Result<ExitCode> {
    if arguments.print {
        print!("{}", migration_script(arguments.from));
        return Ok(ExitCode::SUCCESS);
    }
    let Some(database) = arguments.store.database()? else { bail!(NO_DATABASE) };
    let store = connect(database).await?;
    let newest = migrations().last().map_or(0, |migration| migration.version);
    if arguments.mode == Some(Mode::Validate) {
        store.validate().await?;
        println!("The schema is up to date: version {newest}.");
        return Ok(ExitCode::SUCCESS);
    }
    let applied = store.migrate().await.context("the schema cannot be brought up to date")?;
    for migration in migrations().iter().filter(|migration| applied.contains(&migration.version)) {
        println!("Applied version {}: {}", migration.version, migration.name);
    }
    println!("The schema is up to date: version {newest}.");
    Ok(ExitCode::SUCCESS)
}
