//! Findings that outlive the process: one line of JSON each, appended before the task that found it is acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// What one task found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Fact {
    /// The ISO 639-3 code and how sure that is; nothing when it cannot be told.
    Language(String, Option<(String, f64)>),
    Words(String, usize),
}

/// A file of facts.
#[derive(Debug)]
pub(super) struct FindingsFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl FindingsFile {
    /// Opens or creates it, and reads what is there. A line that was torn when its process was killed is passed over:
    /// its task was not acknowledged, and comes again.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Fact>)> {
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let mut facts = Vec::new();
        for line in BufReader::new(&file).split(b'\n') {
            facts.extend(serde_json::from_slice::<Fact>(&line?).ok());
        }
        // Whatever a torn line left there ends here.
        file.write_all(b"\n")?;
        Ok((Self { path: path.to_owned(), file: Mutex::new(file) }, facts))
    }

    /// One write, so that lines of several tasks do not mix.
    pub(super) fn append(&self, fact: &Fact) -> io::Result<()> {
        let mut line = serde_json::to_vec(fact)?;
        line.push(b'\n');
        self.file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).set_len(0)
    }

    /// Removes the file.
    pub(super) fn remove(&self) {
        // It may be gone already, and nothing depends on it any more.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_there_again_and_a_torn_line_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("findings");
        let facts =
            [Fact::Words("a.txt".into(), 7), Fact::Language("b.txt".into(), Some(("deu".into(), 0.5)))];
        let (file, before) = FindingsFile::open(&path).unwrap();
        assert_eq!(before, []);
        facts.iter().for_each(|fact| file.append(fact).unwrap());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"words\":[\"c.t").unwrap();
        let (file, before) = FindingsFile::open(&path).unwrap();
        assert_eq!(before, facts);
        file.append(&facts[0]).unwrap();
        assert_eq!(FindingsFile::open(&path).unwrap().1.len(), 3);
        file.clear().unwrap();
        assert_eq!(FindingsFile::open(&path).unwrap().1, []);
        file.remove();
        assert!(!path.exists());
    }
}
