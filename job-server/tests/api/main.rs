//! The API over real sockets, in one binary.

mod abuse;
mod actions;
mod client;
mod create;
mod drain;
mod headers;
mod health;
mod hooked_store;
mod listing;
mod malformed;
mod read;
mod server;
