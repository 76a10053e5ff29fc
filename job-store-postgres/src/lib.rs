#![doc = include_str!("../README.md")]

mod options;
mod store;

mod connect;
mod connections;
mod migrations;
mod step;

mod actions;
mod claim;
mod create;
mod failures;
mod leases;
mod list;
mod prune;
mod read;
mod record;
mod settle;
mod silence;
mod stow;
mod suspension;
mod tasks;
mod verify;

mod dependents;
mod job_rows;
mod outbox_rows;
mod overview;
mod progress_rows;
mod progress_writes;
mod redispatch;
mod removal;

mod error;
mod numbers;
mod path_bytes;
mod record_block;
mod row_writer;
mod sort_key;
mod status_code;

pub use migrations::{Migration, SchemaState, migration_script, migrations};
pub use options::PostgresOptions;
pub use store::PostgresStore;
