//! Where the servers' programs are.
#![expect(clippy::disallowed_methods, reason = "PATH says where programs are")]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directory with PostgreSQL's own programs.
///
/// Debian's come first, newest version first: what Debian puts in `PATH` are slow wrappers, and no servers at all.
pub(crate) fn postgres_directory() -> Result<PathBuf> {
    let mut versions: Vec<u32> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    versions.sort_unstable_by(|left, right| right.cmp(left));
    versions
        .into_iter()
        .map(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin")))
        .chain(path_directories())
        .find(|directory| is_file_in(directory, "postgres"))
        .context("PostgreSQL is not installed: no program `postgres` (Debian: apt-get install postgresql)")
}

/// PostgreSQL's client `psql`, which may be installed without the server.
pub(crate) fn psql() -> Result<PathBuf> {
    postgres_directory()
        .into_iter()
        .chain(path_directories())
        .find(|directory| is_file_in(directory, "psql"))
        .map(|directory| directory.join("psql"))
        .context("no program `psql` (Debian: apt-get install postgresql-client)")
}

/// The directory with RabbitMQ's own scripts; what Debian puts in `PATH` are wrappers that switch users.
pub(crate) fn rabbit_directory() -> Result<PathBuf> {
    std::iter::once(PathBuf::from("/usr/lib/rabbitmq/bin"))
        .chain(path_directories())
        .find(|directory| is_file_in(directory, "rabbitmq-server"))
        .context("RabbitMQ is not installed: no program `rabbitmq-server` (Debian: apt-get install rabbitmq-server)")
}

/// `PATH` for a server that otherwise gets an empty environment.
pub(crate) fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into())
}

fn path_directories() -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(&search_path()).collect::<Vec<_>>().into_iter()
}

fn is_file_in(directory: &Path, name: &str) -> bool {
    directory.join(name).is_file()
}
