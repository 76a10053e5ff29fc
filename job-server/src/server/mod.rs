//! From sockets to handlers: connections, requests, and their ends.

mod bare_answer;
mod body;
mod connection;
pub(crate) mod drain;
mod listener;
mod places;
mod site;
mod stall_guard;
mod tls;
mod unparsed;

pub(crate) use listener::{Listener, Way};
pub(crate) use places::network;
pub(crate) use site::{Gate, Site};
pub(crate) use tls::Tls;
pub use tls::TlsFiles;
