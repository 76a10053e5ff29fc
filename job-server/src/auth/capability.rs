//! Proofs that travel in status URLs, for workers that can show no token.
//!
//! A proof is a MAC over one job: its bearer may read that job's status, and nothing else.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use job_core::JobKey;
use job_core::dispatcher::StatusCapability;
use sha2::Sha256;

use super::random;
use super::token_file::write_private;

/// The query parameter that carries a proof.
pub(super) const PARAMETER: &str = "c";

/// Shorter secrets can be guessed.
const SECRET_CHARACTERS_MIN: usize = 32;

/// Keeps these MACs apart from any other use of the same secret.
const PURPOSE: &[u8] = b"job status 1";

/// The secrets behind proofs. The first one signs; all of them are recognised, so that a secret can be replaced while
/// URLs made with it are still on queues.
#[derive(Clone)]
pub struct Secret(Arc<[Hmac<Sha256>]>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// Reads secrets, one a line.
    ///
    /// # Errors
    /// A sentence for the operator when there is none, or one is too short.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<_> = lines
            .map(|line| {
                let characters = line.chars().count();
                if characters < SECRET_CHARACTERS_MIN {
                    bail!(
                        "the secret has {characters} characters: at least {SECRET_CHARACTERS_MIN} are needed, such as \
                         the output of `openssl rand -base64 32`"
                    );
                }
                Ok(Hmac::new_from_slice(line.as_bytes()).expect("an HMAC takes keys of any length"))
            })
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            bail!("the secret is empty: put one of at least {SECRET_CHARACTERS_MIN} characters there");
        }
        Ok(Self(keys.into()))
    }

    /// Reads the secret kept at `path`, or makes one and keeps it there.
    pub(super) fn kept_at(path: &Path) -> anyhow::Result<Self> {
        let failed = || format!("the secret {} cannot be kept", path.display());
        if !path.try_exists().with_context(failed)? {
            let made = random::secret()? + "\n";
            // When another process was faster, its secret is the one.
            write_private(path, made.as_bytes(), false).with_context(failed)?;
        }
        let text = std::fs::read_to_string(path).with_context(failed)?;
        Self::parse(&text).with_context(failed)
    }

    fn mac(key: &Hmac<Sha256>, job: &JobKey) -> Hmac<Sha256> {
        let mut mac = key.clone();
        mac.update(PURPOSE);
        for part in [job.partition.as_str(), job.job.as_str()] {
            // With its length, so that no other pair of ids gives the same bytes.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac
    }

    fn query(&self, job: &JobKey) -> String {
        let proof = Self::mac(&self.0[0], job).finalize().into_bytes();
        format!("{PARAMETER}={}", URL_SAFE_NO_PAD.encode(proof))
    }

    /// What the dispatcher puts into status URLs.
    #[must_use]
    pub fn status_capability(&self) -> StatusCapability {
        let secret = self.clone();
        StatusCapability::new(move |job| secret.query(job))
    }

    /// Whether `proof` was made here for `job`; compared in a time that tells nothing.
    pub(super) fn proves(&self, proof: &str, job: &JobKey) -> bool {
        let Ok(proof) = URL_SAFE_NO_PAD.decode(proof) else { return false };
        self.0.iter().any(|key| Self::mac(key, job).verify_slice(&proof).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::parse(&text.repeat(32)).unwrap()
    }

    fn proof(secret: &Secret, job: &JobKey) -> String {
        secret.query(job).strip_prefix("c=").unwrap().to_owned()
    }

    #[test]
    fn a_proof_is_for_one_job_and_one_secret() {
        let (ours, theirs) = (secret("a"), secret("b"));
        let job = JobKey::parse("p", "j").unwrap();
        let proof = proof(&ours, &job);
        assert!(ours.proves(&proof, &job));
        for other in [("p", "k"), ("q", "j"), ("pj", "x"), ("P", "j")] {
            assert!(!ours.proves(&proof, &JobKey::parse(other.0, other.1).unwrap()), "{other:?}");
        }
        assert!(!theirs.proves(&proof, &job));
        for forged in ["", "x", "!", &proof[1..], &format!("{proof}A"), &proof.to_uppercase()] {
            assert!(!ours.proves(forged, &job), "{forged}");
        }
        let apart = JobKey::parse("ab", "c").unwrap();
        assert!(!ours.proves(&self::proof(&ours, &apart), &JobKey::parse("a", "bc").unwrap()));
    }

    #[test]
    fn a_secret_can_be_replaced_while_its_urls_are_out() {
        let job = JobKey::parse("p", "j").unwrap();
        let old = secret("a");
        let both = Secret::parse(&format!("{}\n{}\n", "b".repeat(32), "a".repeat(32))).unwrap();
        assert!(both.proves(&proof(&old, &job), &job));
        assert!(!old.proves(&proof(&both, &job), &job), "the first signs");
    }

    #[test]
    fn short_secrets_are_refused_and_none_is_shown() {
        for wrong in ["", "\n", "tooshort"] {
            let sentence = Secret::parse(wrong).unwrap_err().to_string();
            assert!(sentence.contains("32") && !sentence.contains("tooshort"), "{sentence}");
        }
        assert_eq!(format!("{:?}", secret("a")), "Secret");
    }

    #[test]
    fn a_secret_that_was_made_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let job = JobKey::parse("p", "j").unwrap();
        let first = Secret::kept_at(&path).unwrap();
        assert!(Secret::kept_at(&path).unwrap().proves(&proof(&first, &job), &job));
    }
}
