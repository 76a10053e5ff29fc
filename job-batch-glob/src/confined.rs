//! A directory that nothing gets out of.

use std::io;
use std::path::{Component, Path, PathBuf};

/// A root directory in its canonical form.
#[derive(Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// # Errors
    /// When there is no such directory, or it cannot be read now.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        path.canonicalize().map(Self)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Whether `path`, whatever links it consists of, ends up within the root.
    pub(crate) fn contains(&self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|real| real.starts_with(&self.0))
    }

    /// Whether the relative `file` names a file within the root.
    pub(crate) fn holds(&self, file: &str) -> bool {
        let relative = Path::new(file);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        let path = self.0.join(relative);
        plain && path.is_file() && self.contains(&path)
    }
}
