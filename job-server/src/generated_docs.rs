//! Documentation that is made from the code: held to it by tests, and written anew with `JOB_DOCS=write`.

use std::path::PathBuf;

/// Checks that the part of a document between `<!-- NAME -->` and `<!-- end of NAME -->` is `expected`.
#[expect(clippy::disallowed_methods, reason = "a test that may be asked to write")]
pub(crate) fn hold(document: &str, name: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let start = text.find(&begin).unwrap_or_else(|| panic!("{document} has no {begin:?}")) + begin.len();
    let length = text[start..].find(&end).unwrap_or_else(|| panic!("{document} has no {end:?}"));
    if text[start..start + length] == *expected {
        return;
    }
    if std::env::var_os("JOB_DOCS").is_some_and(|value| value == "write") {
        let changed = [&text[..start], expected, &text[start + length..]].concat();
        std::fs::write(&path, changed).unwrap();
    } else {
        panic!(
            "{document} is stale: `JOB_DOCS=write cargo test -p job-server --lib documented` writes it anew"
        );
    }
}
