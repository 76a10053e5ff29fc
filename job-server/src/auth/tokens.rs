//! The tokens that are good now: what the token file says, read again whenever it changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use job_core::{Clock, Shutdown, Timestamp};

use super::token::{Hash, TokenRecord, id_of};
use super::token_file::TokenFile;

/// How often the file is looked at. A revocation holds after this long.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Knows tokens by what their bearers show.
#[derive(Debug)]
pub(crate) struct Tokens {
    file: TokenFile,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    bytes: Vec<u8>,
    by_id: HashMap<String, Arc<TokenRecord>>,
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// A sentence for the operator when it cannot be read.
    pub(crate) fn open(file: TokenFile) -> anyhow::Result<Self> {
        let tokens = Self { file, known: RwLock::default() };
        tokens.look()?;
        Ok(tokens)
    }

    /// The record of a token that is good at `now`.
    pub(crate) fn find(&self, shown: &str, now: Timestamp) -> Option<Arc<TokenRecord>> {
        let id = id_of(shown)?;
        let record = self.known.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned();
        let hash = Hash::of(shown);
        record.filter(|record| record.sha256.is(&hash) && record.is_good(now))
    }

    /// Reads the file again if it changed; answers whether it did. What was known stays when it cannot be read.
    fn look(&self) -> anyhow::Result<bool> {
        let bytes = self.file.read()?;
        if self.known.read().unwrap_or_else(PoisonError::into_inner).bytes == bytes {
            return Ok(false);
        }
        let list = self.file.parse(&bytes)?;
        let by_id = list.tokens.into_iter().map(|record| (record.id.clone(), Arc::new(record))).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known { bytes, by_id };
        Ok(true)
    }

    /// Follows the file until `shutdown` stops.
    pub(crate) async fn follow(self: Arc<Self>, clock: Arc<dyn Clock>, shutdown: Shutdown) {
        let mut stopping = std::pin::pin!(shutdown.stopping());
        let mut is_stale = false;
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                () = clock.sleep(LOOK_INTERVAL) => {}
            }
            let tokens = Arc::clone(&self);
            let looked = shutdown.spawn_blocking(move || tokens.look()).await.map_err(Into::into).flatten();
            tell(looked, &mut is_stale);
        }
    }
}

/// Logs what came of a look at the file: of an outage its beginning and its end, and not each look.
fn tell(looked: anyhow::Result<bool>, is_stale: &mut bool) {
    let was_stale = std::mem::replace(is_stale, looked.is_err());
    match looked {
        Ok(true) => tracing::info!("the token file was read again"),
        Ok(false) if was_stale => tracing::info!("the token file can be read again, and says the same"),
        Ok(false) => {}
        Err(_) if was_stale => {}
        Err(error) => {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "until the token file can be read again new tokens are unknown and revoked ones stay good: let the user \
                 that this process runs as read it, or stop the process"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::role::{AccessRole, Scope};
    use crate::auth::token::TokenText;

    #[test]
    fn only_the_whole_token_is_one_and_only_while_it_is_good() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("tokens"));
        let (text, id) = TokenText::generate().unwrap();
        let record = TokenRecord {
            id: id.clone(),
            name: String::new(),
            role: AccessRole::Reader,
            partition: Scope::All,
            sha256: Hash::of(text.reveal()),
            created: Timestamp::from_millis(0),
            expires: Some(Timestamp::from_millis(100)),
            revoked: None,
        };
        let write = |record: &TokenRecord| {
            file.change(|list| {
                list.tokens = vec![record.clone()];
                Ok(())
            })
            .unwrap();
        };
        write(&record);
        let tokens = Tokens::open(file.clone()).unwrap();
        let at = Timestamp::from_millis;
        assert_eq!(tokens.find(text.reveal(), at(1)).as_deref(), Some(&record));
        assert!(tokens.find(text.reveal(), at(100)).is_none(), "expired");
        let shown = text.reveal();
        for wrong in [
            "",
            "x",
            "jobsvc_",
            &format!("jobsvc_{id}"),
            &format!("jobsvc_{id}_"),
            &shown[1..],
            &shown[..shown.len() - 1],
            &format!("{shown}x"),
        ] {
            assert!(tokens.find(wrong, at(1)).is_none(), "{wrong}");
        }
        write(&TokenRecord { revoked: Some(at(2)), ..record });
        assert!(tokens.find(shown, at(3)).is_some(), "not looked yet");
        assert!(tokens.look().unwrap());
        assert!(!tokens.look().unwrap(), "nothing new");
        assert!(tokens.find(shown, at(3)).is_none(), "revoked");
        std::fs::remove_file(directory.path().join("tokens")).unwrap();
        assert!(tokens.look().is_err());
    }
    /// What is logged, for a test to read.
    #[derive(Debug, Clone, Default)]
    struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_outage_of_the_file_is_told_when_it_begins_and_when_it_ends() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let file = TokenFile::new(&path);
        file.change(|_| Ok(())).unwrap();
        let tokens = Tokens::open(file).unwrap();
        let away = directory.path().join("away");
        let mut is_stale = false;
        let mut look_twice = || {
            for _ in 0..2 {
                tell(tokens.look(), &mut is_stale);
            }
        };
        tracing::subscriber::with_default(subscriber, || {
            look_twice();
            std::fs::rename(&path, &away).unwrap();
            look_twice();
            std::fs::rename(&away, &path).unwrap();
            look_twice();
        });
        let bytes = log.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let [begun, ended] = lines.as_slice() else { panic!("{text}") };
        assert!(begun.contains("ERROR") && begun.contains("revoked ones stay good"), "{begun}");
        assert!(ended.contains("INFO") && ended.contains("says the same"), "{ended}");
    }
}
