//! Secrets nobody can guess: the only place that asks the operating system for random bytes.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 256 random bits as text that needs no escaping anywhere.
pub(super) fn secret() -> anyhow::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(bytes::<32>()?))
}

/// 32 random bits, as 8 hexadecimal digits: a name, not a secret.
pub(super) fn id() -> anyhow::Result<String> {
    Ok(format!("{:08x}", u32::from_be_bytes(bytes()?)))
}

fn bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the operating system gives no random bytes")?;
    Ok(bytes)
}
