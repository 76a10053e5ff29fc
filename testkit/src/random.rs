//! Random names and passwords.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};

/// `N` random bytes from the kernel.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .context("no random bytes from /dev/urandom")?;
    Ok(bytes)
}

/// Sixteen random hexadecimal digits: fit for a name, a password or a part of a URL as they are.
pub(crate) fn hex() -> Result<String> {
    Ok(format!("{:016x}", u64::from_le_bytes(bytes()?)))
}
