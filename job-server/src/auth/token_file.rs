//! The file that keeps tokens: read as a whole, replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::token::TokenRecord;

/// More than this is not a list of tokens.
const BYTES_MAX: u64 = 64 << 20;

/// What the file says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TokenList {
    pub(crate) tokens: Vec<TokenRecord>,
}

/// Where it is.
#[derive(Debug, Clone)]
pub(crate) struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// A sentence for the operator when there is no such file, or others may write to it.
    pub(super) fn read(&self) -> anyhow::Result<Vec<u8>> {
        let shown = self.path.display();
        let unread = || format!("the token file {shown} cannot be read");
        let metadata = match fs::metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                bail!(
                    "there is no token file {shown}: job-server token create --tokens {shown} makes the first"
                )
            }
            metadata => metadata.with_context(unread)?,
        };
        if metadata.len() > BYTES_MAX {
            bail!("the token file {shown} has {} bytes: that is no list of tokens", metadata.len());
        }
        refuse_if_others_may_write(&self.path, &metadata)?;
        fs::read(&self.path).with_context(unread)
    }

    /// Reads the file's bytes as tokens.
    pub(super) fn parse(&self, bytes: &[u8]) -> anyhow::Result<TokenList> {
        serde_json::from_slice(bytes).with_context(|| {
            format!("the token file {} is damaged: take it from a backup", self.path.display())
        })
    }

    /// The tokens, for whoever lists them.
    pub(crate) fn list(&self) -> anyhow::Result<TokenList> {
        self.parse(&self.read()?)
    }

    /// Changes the tokens and replaces the file, whose owner and mode stay; a new one is for its owner alone. One process at
    /// a time does this; readers see the old file or the new one.
    ///
    /// # Errors
    /// A sentence for the operator; the file is then as it was.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut TokenList) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let file = Self { path: self.resolved()? };
        let shown = self.path.display();
        let _locked = file.lock()?;
        let mut list = match fs::metadata(&file.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => TokenList::default(),
            _ => file.list()?,
        };
        let changed = change(&mut list)?;
        let mut text = serde_json::to_vec_pretty(&list)?;
        text.push(b'\n');
        write_private(&file.path, &text, true)
            .with_context(|| format!("the token file {shown} cannot be written"))?;
        Ok(changed)
    }

    /// The path without links: what they lead to is what is replaced.
    fn resolved(&self) -> anyhow::Result<PathBuf> {
        match fs::canonicalize(&self.path) {
            Ok(path) => Ok(path),
            Err(error) if error.kind() == ErrorKind::NotFound && !self.path.is_symlink() => {
                Ok(self.path.clone())
            }
            Err(error) => Err(error)
                .with_context(|| format!("the token file {} cannot be reached", self.path.display())),
        }
    }

    fn lock(&self) -> anyhow::Result<File> {
        let mut path = self.path.clone().into_os_string();
        path.push(".lock");
        let shown = Path::new(&path).display();
        let failed = || format!("{shown}, which keeps changes apart, cannot be locked");
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(failed)?;
        file.lock().with_context(failed)?;
        Ok(file)
    }
}

/// Writes a file, at once or not at all; answers whether it did, which it does not when the file exists and is not to be
/// replaced. A new file is for its owner alone; one that replaces another may be read by the same as that.
pub(super) fn write_private(path: &Path, content: &[u8], replace: bool) -> std::io::Result<bool> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made for its owner alone.
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(content)?;
    if replace && let Ok(old) = fs::metadata(path) {
        take_after(file.as_file(), &old)?;
    }
    file.as_file().sync_all()?;
    let persisted = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    match persisted {
        Ok(_) => Ok(true),
        Err(error) if !replace && error.error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error.error),
    }
}

/// Gives `file` the owner and the mode of `old`: whoever reads that, such as a server of another user, must not lose it.
#[cfg(unix)]
fn take_after(file: &File, old: &fs::Metadata) -> std::io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid())).map_err(|error| {
            let message = format!("it cannot stay with its owner, whose id is {}: {error}", old.uid());
            std::io::Error::new(error.kind(), message)
        })?;
    }
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn take_after(_: &File, _: &fs::Metadata) -> std::io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn refuse_if_others_may_write(path: &Path, metadata: &fs::Metadata) -> anyhow::Result<()> {
    use std::os::unix::fs::MetadataExt as _;
    if metadata.mode() & 0o022 != 0 {
        bail!("others may write to {}, and so make themselves tokens: chmod 600 {0}", path.display());
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_if_others_may_write(_: &Path, _: &fs::Metadata) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::role::{AccessRole, Scope};
    use crate::auth::token::Hash;
    use job_core::Timestamp;

    fn record(id: &str) -> TokenRecord {
        TokenRecord {
            id: id.to_owned(),
            name: "n".to_owned(),
            role: AccessRole::Operator,
            partition: Scope::All,
            sha256: Hash::of(id),
            created: Timestamp::from_millis(1),
            expires: None,
            revoked: None,
        }
    }

    fn add(file: &TokenFile, id: &str) {
        file.change(|list| {
            list.tokens.push(record(id));
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn changes_are_kept_for_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("tokens"));
        add(&file, "a");
        add(&file, "b");
        assert_eq!(file.list().unwrap().tokens, [record("a"), record("b")]);
        let refused = file.change(|list| {
            list.tokens.clear();
            anyhow::bail!("no")
        });
        assert_eq!(refused.map(|()| 0).unwrap_err().to_string(), "no");
        assert_eq!(file.list().unwrap().tokens.len(), 2);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |mode| fs::set_permissions(&file.path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
            mode(0o640);
            add(&file, "c");
            assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o640);
            let link = directory.path().join("link");
            std::os::unix::fs::symlink(&file.path, &link).unwrap();
            add(&TokenFile::new(&link), "d");
            assert!(link.is_symlink() && file.list().unwrap().tokens.len() == 4);
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(directory.path().join("nowhere"), &link).unwrap();
            let sentence = format!("{:#}", TokenFile::new(&link).change(|_| Ok(())).unwrap_err());
            assert!(sentence.contains("cannot be reached"), "{sentence}");
            mode(0o620);
            let sentence = file.list().unwrap_err().to_string();
            assert!(sentence.contains("chmod 600"), "{sentence}");
            assert!(file.change(|_| Ok(())).is_err());
        }
    }

    #[test]
    fn many_writers_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("tokens"));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope.spawn(move || add(file, &number.to_string()));
            }
        });
        assert_eq!(file.list().unwrap().tokens.len(), 8);
    }

    #[test]
    fn a_missing_or_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = TokenFile::new(directory.path().join("tokens"));
        let sentence = format!("{:#}", file.list().unwrap_err());
        assert!(sentence.contains("token create"), "{sentence}");
        write_private(&file.path, b"{\"tokens\":[{}]}", true).unwrap();
        let sentence = format!("{:#}", file.list().unwrap_err());
        assert!(sentence.contains("damaged"), "{sentence}");
    }
}
