//! One token: what its bearer shows, and what is kept of it.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use job_core::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::random;
use super::role::{AccessRole, Scope};

/// Begins every token, so that those who scan repositories and logs for secrets recognise one.
const PREFIX: &str = "jobsvc_";

/// A token as its bearer shows it: `jobsvc_ID_SECRET`. It is shown to nobody but who asked for it.
pub(crate) struct TokenText(String);

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText")
    }
}

impl TokenText {
    /// A new one, and its id.
    pub(crate) fn generate() -> anyhow::Result<(Self, String)> {
        let id = random::id()?;
        Ok((Self(format!("{PREFIX}{id}_{}", random::secret()?)), id))
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Hash {
        Hash::of(&self.0)
    }
}

/// The id within a token, if `text` looks like one.
pub(super) fn id_of(text: &str) -> Option<&str> {
    text.strip_prefix(PREFIX)?.split_once('_').map(|(id, _)| id)
}

/// A SHA-256. What it is of has 256 random bits, so that neither salt nor stretching would add anything.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Compares in a time that tells nothing.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash")
    }
}

impl TryFrom<String> for Hash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("it is not a SHA-256 in base64url")
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        URL_SAFE_NO_PAD.encode(hash.0)
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenRecord {
    /// Names the token in listings and in the audit log; it is part of the token.
    pub(crate) id: String,
    /// Whose it is, in the words of whoever made it.
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) role: AccessRole,
    pub(crate) partition: Scope,
    pub(crate) sha256: Hash,
    pub(crate) created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it is good at `now`.
    pub(crate) fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_recognisable_long_and_different() {
        let (token, id) = TokenText::generate().unwrap();
        let (other, _) = TokenText::generate().unwrap();
        assert!(token.reveal().starts_with("jobsvc_"), "{}", token.reveal());
        assert_eq!(id_of(token.reveal()), Some(id.as_str()));
        // 43 characters of base64 hold 256 bits.
        assert_eq!(token.reveal().rsplit_once(&format!("{id}_")).unwrap().1.len(), 43);
        assert_ne!(token.reveal(), other.reveal());
        assert!(!format!("{token:?}").contains(&id));
    }

    #[test]
    fn a_hash_survives_being_written() {
        let hash = Hash::of("x");
        let text = serde_json::to_string(&hash).unwrap();
        let read: Hash = serde_json::from_str(&text).unwrap();
        assert!(read.is(&hash) && !read.is(&Hash::of("y")));
        assert!(serde_json::from_str::<Hash>("\"short\"").is_err());
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let mut record = TokenRecord {
            id: "1".into(),
            name: String::new(),
            role: AccessRole::Reader,
            partition: Scope::All,
            sha256: Hash::of("x"),
            created: Timestamp::from_millis(0),
            expires: Some(Timestamp::from_millis(10)),
            revoked: None,
        };
        assert!(record.is_good(Timestamp::from_millis(9)) && !record.is_good(Timestamp::from_millis(10)));
        record.revoked = Some(Timestamp::from_millis(5));
        assert!(!record.is_good(Timestamp::from_millis(1)));
    }
}
