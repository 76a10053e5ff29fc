//! Regular expressions: Java's syntax, matched in linear time.
//!
//! The `regex` crate writes some things differently from Java, and gives some the same name but
//! another meaning: Java's `\d`, `\w` and `\s` are ASCII. So a pattern is rewritten before it is
//! compiled. What needs backtracking (look-around, back-references, possessive quantifiers, atomic
//! groups) is refused with a message that says so.

mod translate;

use regex::{Regex, RegexBuilder};

use translate::Translator;

/// Sizes that a compiled pattern is tried to fit into, in KiB. The last is the limit.
///
/// The time that a search takes in the worst case grows with the size, so it is part of the price.
const PROGRAM_KIB: [u32; 6] = [1, 4, 16, 64, 256, 1024];
/// The size of the automaton that is built while matching.
const CACHE_BYTES: usize = 512 << 10;
/// How deep groups may nest.
const GROUP_NESTING: u32 = 64;

/// A compiled regular expression.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    text: String,
    regex: Regex,
    /// The size of the compiled pattern, rounded up to one of [`PROGRAM_KIB`].
    kib: u32,
    /// A search looks no further than the match that it finds and perhaps a few characters more.
    near: bool,
    /// The names of its groups, sorted.
    groups: Vec<String>,
}

impl Pattern {
    /// Compiles a pattern; the error is a message.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let fault = |reason: &str| format!("Syntax error in regular expression '{text}': {reason}");
        let (translated, near) = Translator::new(text).translate().map_err(|reason| fault(&reason))?;
        let (regex, kib) = build(&translated).map_err(|reason| fault(&reason))?;
        let mut groups: Vec<String> = regex.capture_names().flatten().map(str::to_owned).collect();
        groups.sort_unstable();
        Ok(Self { text: text.to_owned(), regex, kib, near, groups })
    }

    /// The pattern as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What a search over so much text costs in steps.
    pub(crate) fn search_steps(&self, bytes: usize) -> u64 {
        1 + bytes as u64 * u64::from(self.kib) / 128
    }

    /// What one of several searches costs: it found something `near` bytes ahead, with `all` bytes
    /// to go.
    pub(crate) fn repeated_search_steps(&self, near: usize, all: usize) -> u64 {
        self.search_steps(if self.near { near } else { all })
    }

    /// What compiling it costs in steps.
    pub(crate) fn compilation_steps(&self) -> u64 {
        u64::from(self.kib) * 32
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The first match from `from` on: where it begins and ends.
    pub(crate) fn find_at(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        if from > text.len() {
            return None;
        }
        self.regex.find_at(text, from).map(|found| (found.start(), found.end()))
    }

    /// The named groups of the first match, by name; `None` for one that took no part in it.
    pub(crate) fn capture<'p, 't>(&'p self, text: &'t str) -> Option<Vec<(&'p str, Option<&'t str>)>> {
        let captures = self.regex.captures(text)?;
        let group = |name: &'p String| (name.as_str(), captures.name(name).map(|group| group.as_str()));
        Some(self.groups.iter().map(group).collect())
    }
}

/// Compiles a pattern in the crate's syntax into as little room as it needs.
fn build(translated: &str) -> Result<(Regex, u32), String> {
    for kib in PROGRAM_KIB {
        let regex = RegexBuilder::new(translated)
            .size_limit(kib as usize * 1024)
            .dfa_size_limit(CACHE_BYTES)
            .nest_limit(GROUP_NESTING)
            .build();
        match regex {
            Ok(regex) => return Ok((regex, kib)),
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(error) => {
                // The crate draws a picture over several lines and ends with the reason.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                return Err(reason.trim_start_matches("error: ").to_owned());
            }
        }
    }
    Err("it is too large".to_owned())
}
