//! Reading a file as text, or saying in one sentence why it is none.

use std::fmt;
use std::io::{self, Read as _};
use std::path::Path;

/// Longer files are not read: the demo's workers hold a text in memory.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why a file is not a text.
#[derive(Debug)]
pub(super) enum NotText {
    /// The operating system does not let us read it.
    Unreadable(io::Error),
    /// It is a pipe, a device or a directory, which might never end.
    NotAFile,
    /// It is not UTF-8, or has control characters no text has.
    Binary,
    /// There is nothing but white space in it.
    Empty,
    /// Its path leads out of the directory.
    Outside,
    /// It is larger than the demo reads.
    TooLarge,
}

impl fmt::Display for NotText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read ({error})"),
            Self::NotAFile => f.write_str("is not a regular file"),
            Self::Binary => f.write_str("is not a text in UTF-8"),
            Self::Empty => f.write_str("is empty"),
            Self::Outside => f.write_str("is not inside the directory of texts"),
            Self::TooLarge => write!(f, "is larger than {} MiB", TEXT_BYTES_MAX / (1024 * 1024)),
        }
    }
}

/// Reads a text; blocks on the file.
pub(super) fn read_text(path: &Path) -> Result<String, NotText> {
    // Before it is opened: opening a pipe waits for somebody to write into it.
    if !std::fs::metadata(path).map_err(NotText::Unreadable)?.is_file() {
        return Err(NotText::NotAFile);
    }
    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(NotText::Unreadable)?;
    text_of(bytes)
}

fn text_of(bytes: Vec<u8>) -> Result<String, NotText> {
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(NotText::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|_| NotText::Binary)?;
    if text.contains('\0') {
        return Err(NotText::Binary);
    }
    if text.trim_matches(|character: char| character.is_whitespace() || character == '\u{FEFF}').is_empty() {
        return Err(NotText::Empty);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_from_everything_else() {
        assert!(text_of("Grüße\n".into()).is_ok());
        assert!(matches!(text_of(vec![]), Err(NotText::Empty)));
        assert!(matches!(text_of(b" \n\t ".to_vec()), Err(NotText::Empty)));
        assert!(matches!(text_of("\u{FEFF}\n".into()), Err(NotText::Empty)));
        assert!(matches!(text_of(vec![0xFF, 0xFE, b'a']), Err(NotText::Binary)));
        assert!(matches!(text_of(b"a\0b".to_vec()), Err(NotText::Binary)));
        assert!(matches!(text_of(vec![b'a'; 16 * 1024 * 1024 + 1]), Err(NotText::TooLarge)));
    }

    #[test]
    fn a_missing_file_is_unreadable() {
        let missing = std::env::temp_dir().join("no such file of this test.txt");
        assert!(matches!(read_text(&missing), Err(NotText::Unreadable(_))));
        assert!(matches!(read_text(&std::env::temp_dir()), Err(NotText::NotAFile)));
    }
}
