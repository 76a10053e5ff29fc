#![doc = include_str!("../README.md")]

mod database;
mod postgres;
mod rabbit;
mod shared;

mod owner;
mod ports;
mod process;
mod programs;
mod psql;
mod random;
mod sandbox;
mod server_process;
mod url;
mod wait;

pub use database::{TestDatabase, template_name};
pub use postgres::{PostgresOptions, PostgresServer};
pub use rabbit::{RabbitOptions, RabbitServer};
pub use shared::{postgres, rabbit};
