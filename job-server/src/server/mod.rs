//! From sockets to handlers: connections, requests, and their ends.

mod bare_answer;
mod body;
mod connection;
pub(crate) mod drain;
mod listener;
mod site;
mod stall_guard;

pub(crate) use listener::Listener;
pub(crate) use site::{Gate, Site};
