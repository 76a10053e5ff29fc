//! Free ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// Below the range from which the kernel takes the ports of outgoing connections: a server that is down for a restart
/// would otherwise lose its port to any client.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port that nobody listens on now.
///
/// Another process may take it before the server does; starting a server is therefore tried again with other ports.
pub(crate) fn free_port() -> Result<u16> {
    let start = u16::from_le_bytes(crate::random::bytes()?) % COUNT;
    (start..COUNT)
        .chain(0..start)
        .map(|offset| FIRST + offset)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .context("no free port on the loopback address")
}
