//! Failures by their reason: a hundred files with one problem are one line of the reader's attention.

use std::collections::BTreeMap;

use super::client::FailureView;
use crate::table::printable;

/// How many files of one group are named.
const NAMED_MAX: usize = 10;

/// Between a file and what is wrong with it, in a failure's message.
const SEPARATOR: &str = ": ";

/// The message of a failure about a file.
pub(super) fn failure_message(file: &str, reason: impl std::fmt::Display) -> String {
    format!("{file}{SEPARATOR}{reason}")
}

/// One paragraph per reason, each reason once.
pub(super) fn render_failures(failures: &[FailureView]) -> String {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for failure in failures {
        let message = failure.failure_message.as_str();
        let (file, reason) = message.rsplit_once(SEPARATOR).unwrap_or(("", message));
        groups.entry(reason).or_default().push(file);
    }
    let mut out = String::new();
    for (reason, mut files) in groups {
        files.sort_unstable();
        out.push_str(&format!("  {} ({})\n", printable(reason), files.len()));
        for file in files.iter().filter(|file| !file.is_empty()).take(NAMED_MAX) {
            out.push_str(&format!("    {}\n", printable(file)));
        }
        if files.len() > NAMED_MAX {
            out.push_str(&format!("    and {} more\n", files.len() - NAMED_MAX));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(messages: impl IntoIterator<Item = String>) -> Vec<FailureView> {
        messages.into_iter().map(|failure_message| FailureView { failure_message }).collect()
    }

    #[test]
    fn equal_reasons_are_one_group() {
        let failures = failures([
            failure_message("b: c.txt", "is empty"),
            failure_message("a.txt", "is empty"),
            failure_message("x.txt", "is not a text in UTF-8"),
            "something else".to_owned(),
        ]);
        assert_eq!(
            render_failures(&failures),
            "  is empty (2)\n    a.txt\n    b: c.txt\n  is not a text in UTF-8 (1)\n    x.txt\n  something else (1)\n"
        );
    }

    #[test]
    fn large_groups_are_cut() {
        let text =
            render_failures(&failures((10..25).map(|n| failure_message(&format!("{n}.txt"), "is empty"))));
        assert!(text.ends_with("    19.txt\n    and 5 more\n"), "{text}");
        assert_eq!(render_failures(&[]), "");
    }
}
