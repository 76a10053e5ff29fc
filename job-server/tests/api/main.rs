//! The API over real sockets, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod abuse;
mod actions;
mod attacks;
mod authorisation;
mod browser;
mod canaries;
mod client;
mod command_line;
mod contract;
mod corpus;
mod create;
mod document;
mod drain;
mod group_commit;
mod headers;
mod health;
mod hooked_store;
mod isolation;
mod job_types;
mod listing;
mod live_jobs;
mod malformed;
mod metrics;
mod mutations;
mod otlp;
mod overload;
mod partitions;
mod process;
mod read;
mod server;
mod tls;
mod tokens;
mod tracing;
