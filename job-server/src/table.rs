//! A table for a terminal: columns as wide as they look, in any script.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthStr as _;

/// The side a column's texts are moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    /// Texts.
    Left,
    /// Numbers.
    Right,
}

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    header: [&'static str; COLUMNS],
    align: [Align; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) fn new(columns: [(&'static str, Align); COLUMNS]) -> Self {
        Self {
            header: columns.map(|(name, _)| name),
            align: columns.map(|(_, align)| align),
            rows: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.map(|cell| printable(&cell)));
    }

    /// One line per row, each ending in a line break and none in spaces.
    pub(crate) fn render(&self) -> String {
        let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
            let cells = self.rows.iter().map(|row| row[column].width());
            cells.chain([self.header[column].width()]).max().unwrap_or_default()
        });
        let mut out = String::new();
        self.line(&mut out, &self.header, &widths);
        let rules = widths.map(|width| "-".repeat(width));
        self.line(&mut out, &rules, &widths);
        for row in &self.rows {
            self.line(&mut out, row, &widths);
        }
        out
    }

    fn line(&self, out: &mut String, cells: &[impl AsRef<str>; COLUMNS], widths: &[usize; COLUMNS]) {
        let start = out.len();
        for (column, cell) in cells.iter().enumerate() {
            let cell = cell.as_ref();
            let padding = " ".repeat(widths[column].saturating_sub(cell.width()));
            let gap = if column == 0 { "" } else { "  " };
            let (before, after) = match self.align[column] {
                Align::Left => ("", padding.as_str()),
                Align::Right => (padding.as_str(), ""),
            };
            write!(out, "{gap}{before}{cell}{after}").expect("writing to a string cannot fail");
        }
        out.truncate(out[start..].trim_end_matches(' ').len() + start);
        out.push('\n');
    }
}

/// A name may hold line breaks, escape sequences, and characters that turn the direction of what follows; on a terminal it must
/// not.
pub(crate) fn printable(text: &str) -> String {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_harmless = |character: char| !character.is_control() && !turns(character);
    text.chars().map(|character| if is_harmless(character) { character } else { '\u{FFFD}' }).collect()
}

/// In groups of three, as in `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_keep_the_columns_straight() {
        let mut table = Table::new([("file", Align::Left), ("words", Align::Right)]);
        table.push(["日本.txt".into(), "7".into()]);
        table.push(["a.txt".into(), "1,234".into()]);
        assert_eq!(table.render(), "file      words\n--------  -----\n日本.txt      7\na.txt     1,234\n");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new([("file", Align::Left)]);
        table.push(["a\u{1b}[31m\nb\u{202e}c".into()]);
        assert!(table.render().contains("a\u{FFFD}[31m\u{FFFD}b\u{FFFD}c"));
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
