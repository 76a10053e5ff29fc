//! Visits a directory tree in the order of names, one directory in memory at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use tokio::sync::mpsc;

use crate::confined::Root;

/// Deeper trees than this are a circle of links that a canonical path did not show.
const DEPTH_MAX: usize = 64;

/// What a walk passed over, since no item can be made of it.
#[derive(Debug, Default)]
pub(crate) struct PassedOver {
    /// How many directories and files.
    pub(crate) count: u64,
    /// The first of them, and why.
    pub(crate) first: Option<(PathBuf, String)>,
}

impl PassedOver {
    fn add(&mut self, path: &Path, reason: &impl ToString) {
        self.count += 1;
        self.first.get_or_insert_with(|| (path.to_owned(), reason.to_string()));
    }
}

/// Sends the relative path of every file that matches; ends early when nobody listens any more. A directory that cannot be
/// read is passed over, and so is a name that is not Unicode, which cannot be written in a message.
///
/// # Errors
/// When the root cannot be read.
pub(crate) fn walk(root: &Root, glob: &GlobMatcher, files: &mpsc::Sender<String>) -> io::Result<PassedOver> {
    let mut walk = Walk { root, glob, files, passed_over: PassedOver::default() };
    walk.visit(root.path(), 0)?;
    Ok(walk.passed_over)
}

struct Walk<'a> {
    root: &'a Root,
    glob: &'a GlobMatcher,
    files: &'a mpsc::Sender<String>,
    passed_over: PassedOver,
}

impl Walk<'_> {
    /// Whether somebody still listens.
    fn visit(&mut self, directory: &Path, depth: usize) -> io::Result<bool> {
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(directory)? {
            match entry {
                Ok(entry) => entries.push(entry.path()),
                Err(error) => self.passed_over.add(directory, &error),
            }
        }
        entries.sort_unstable();
        for entry in entries {
            if entry.is_symlink() && !self.root.contains(&entry) {
                continue;
            }
            if entry.is_dir() {
                if !self.enter(&entry, depth + 1) {
                    return Ok(false);
                }
            } else {
                let Some(name) = relative(self.root, &entry) else {
                    self.passed_over.add(&entry, &"its name is not Unicode");
                    continue;
                };
                if self.glob.is_match(&name) && self.files.blocking_send(name).is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn enter(&mut self, directory: &Path, depth: usize) -> bool {
        if depth > DEPTH_MAX {
            self.passed_over.add(directory, &"it is too deep");
            return true;
        }
        self.visit(directory, depth).unwrap_or_else(|error| {
            self.passed_over.add(directory, &error);
            true
        })
    }
}

/// With `/` between the parts.
fn relative(root: &Root, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> =
        path.strip_prefix(root.path()).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use globset::GlobBuilder;

    fn found(root: &Path, glob: &str) -> Vec<String> {
        let matcher = GlobBuilder::new(glob).literal_separator(true).build().unwrap().compile_matcher();
        let (files, mut found) = mpsc::channel(1_000);
        walk(&Root::open(root).unwrap(), &matcher, &files).unwrap();
        drop(files);
        std::iter::from_fn(|| found.blocking_recv()).collect()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_no_item_can_be_made_of_is_counted() {
        use std::os::unix::ffi::OsStrExt as _;
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.txt"), "x").unwrap();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.txt");
        fs::write(directory.path().join(name), "x").unwrap();
        // A circle of links ends at the deepest level.
        std::os::unix::fs::symlink(directory.path(), directory.path().join("again")).unwrap();
        let (files, mut found) = mpsc::channel(1_000);
        let matcher = GlobBuilder::new("*.txt").literal_separator(true).build().unwrap().compile_matcher();
        let passed_over = walk(&Root::open(directory.path()).unwrap(), &matcher, &files).unwrap();
        drop(files);
        assert_eq!(std::iter::from_fn(|| found.blocking_recv()).collect::<Vec<_>>(), ["a.txt"]);
        assert!(passed_over.count >= 2, "{passed_over:?}");
        let reason = passed_over.first.unwrap().1;
        assert!(["its name is not Unicode", "it is too deep"].contains(&reason.as_str()), "{reason}");
    }

    #[test]
    fn files_are_found_in_the_order_of_names_and_links_stay_inside() {
        let directory = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let write = |path: &Path| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        };
        for name in ["b.txt", "a.txt", "sub dir/ü.txt", "sub dir/deep/c.txt", "z.md"] {
            write(&directory.path().join(name));
        }
        write(&outside.path().join("secret.txt"));
        std::os::unix::fs::symlink(outside.path(), directory.path().join("out")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret.txt"), directory.path().join("s.txt"))
            .unwrap();
        std::os::unix::fs::symlink(directory.path().join("a.txt"), directory.path().join("link.txt"))
            .unwrap();
        let all = found(directory.path(), "**/*.txt");
        assert_eq!(all, ["a.txt", "b.txt", "link.txt", "sub dir/deep/c.txt", "sub dir/ü.txt"]);
        assert_eq!(found(directory.path(), "*.txt"), ["a.txt", "b.txt", "link.txt"]);
        assert_eq!(found(directory.path(), "nothing"), Vec::<String>::new());
        let root = Root::open(directory.path()).unwrap();
        assert!(root.holds("sub dir/ü.txt"));
        for bad in ["", "../x", "/etc/passwd", "s.txt", "out/secret.txt", "sub dir", "none.txt", "./a.txt/.."]
        {
            assert!(!root.holds(bad), "{bad}");
        }
    }
}
