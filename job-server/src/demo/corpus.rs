//! The texts to work on: a directory of the user's, or the corpus inside this binary.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use include_dir::{Dir, include_dir};
use tempfile::TempDir;

static CORPUS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../corpus");

/// A directory of texts. One that was unpacked is removed with this value.
#[derive(Debug)]
pub(super) struct Corpus {
    directory: PathBuf,
    _unpacked: Option<TempDir>,
}

impl Corpus {
    /// Writes the corpus of this binary to a temporary directory.
    pub(super) fn unpack() -> anyhow::Result<Self> {
        let unpacked = tempfile::Builder::new()
            .prefix("job-service-demo-")
            .tempdir()
            .context("the corpus needs a temporary directory")?;
        CORPUS
            .extract(unpacked.path())
            .with_context(|| format!("the corpus could not be written to {}", unpacked.path().display()))?;
        Ok(Self { directory: unpacked.path().to_owned(), _unpacked: Some(unpacked) })
    }

    /// Takes a directory as it is; the error is a sentence for whoever named it.
    pub(super) fn open(directory: &Path) -> Result<Self, String> {
        match std::fs::read_dir(directory) {
            Ok(_) => Ok(Self { directory: directory.to_owned(), _unpacked: None }),
            Err(error) => Err(format!("{} cannot be read as a directory: {error}", directory.display())),
        }
    }

    /// Where the texts are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_is_in_the_binary() {
        let corpus = Corpus::unpack().unwrap();
        let directory = corpus.directory().to_owned();
        assert!(directory.join("harbour/fog.txt").is_file());
        assert_eq!(std::fs::read(directory.join("scans/page-05.txt")).unwrap(), b"");
        drop(corpus);
        assert!(!directory.exists());
    }

    #[test]
    fn a_file_is_not_a_directory() {
        let message = Corpus::open(&std::env::current_exe().unwrap()).unwrap_err();
        assert!(message.contains("cannot be read as a directory"), "{message}");
    }
}
