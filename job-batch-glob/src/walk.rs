//! Visits a directory tree in the order of names, one directory in memory at a time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use tokio::sync::mpsc;

use crate::confined::Root;

/// Deeper trees than this are a circle of links that a canonical path did not show.
const DEPTH_MAX: usize = 64;

/// Sends the relative path of every file that matches; ends early when nobody listens any more.
///
/// # Errors
/// When the root cannot be read. A directory below it that cannot be read is passed over: its files could not be read
/// either.
pub(crate) fn walk(root: &Root, glob: &GlobMatcher, files: &mpsc::Sender<String>) -> io::Result<()> {
    visit(root, root.path(), 0, glob, files).map(|_| ())
}

/// Whether somebody still listens.
fn visit(
    root: &Root,
    directory: &Path,
    depth: usize,
    glob: &GlobMatcher,
    files: &mpsc::Sender<String>,
) -> io::Result<bool> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    entries.sort_unstable();
    for entry in entries {
        if entry.is_symlink() && !root.contains(&entry) {
            continue;
        }
        if entry.is_dir() {
            if depth < DEPTH_MAX && !visit(root, &entry, depth + 1, glob, files).unwrap_or(true) {
                return Ok(false);
            }
        } else if let Some(name) = relative(root, &entry)
            && glob.is_match(&name)
            && files.blocking_send(name).is_err()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// With `/` between the parts. A name that is not Unicode cannot be written in a message.
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
