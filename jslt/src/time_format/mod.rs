//! Date and time patterns: those of Java's `SimpleDateFormat`, for its English locale.

mod read;
mod write;

use crate::calendar::Civil;

use read::Reader;
use write::write_field;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(crate) struct TimeFormat {
    items: Vec<Item>,
}

#[derive(Clone, Debug)]
enum Item {
    Literal(String),
    /// A letter and how often it stands there.
    Field(char, usize),
}

/// The zone a time is shown in.
#[derive(Debug)]
pub(crate) struct Zone {
    pub(crate) offset_seconds: i64,
    pub(crate) name: String,
}

impl TimeFormat {
    /// Compiles a pattern; the error is a message.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let fault = |reason: String| Err(format!("Couldn't parse format '{text}': {reason}"));
        let mut items: Vec<Item> = Vec::new();
        let push_literal = |items: &mut Vec<Item>, c: char| match items.last_mut() {
            Some(Item::Literal(literal)) => literal.push(c),
            _ => items.push(Item::Literal(c.into())),
        };
        let mut characters = text.chars().peekable();
        let mut quoted = false;
        while let Some(c) = characters.next() {
            if c == '\'' {
                // Two quotes are one that is meant, in and out of quotes.
                if characters.next_if_eq(&'\'').is_some() {
                    push_literal(&mut items, c);
                } else {
                    quoted = !quoted;
                }
            } else if quoted || !c.is_ascii_alphabetic() {
                push_literal(&mut items, c);
            } else if !"GyYMLwWDdFEuaHkKhmsSzZX".contains(c) {
                return fault(format!("Illegal pattern character '{c}'"));
            } else {
                let mut count = 1;
                while characters.next_if_eq(&c).is_some() {
                    count += 1;
                }
                if count > MOST_LETTERS {
                    return fault(format!("more than {MOST_LETTERS} letters '{c}'"));
                }
                if c == 'X' && count > 3 {
                    return fault(format!("invalid ISO 8601 format: length={count}"));
                }
                items.push(Item::Field(c, count));
            }
        }
        if quoted { fault("Unterminated quote".to_owned()) } else { Ok(Self { items }) }
    }

    /// Writes a time in a zone.
    pub(crate) fn format(&self, millis: i64, zone: &Zone) -> String {
        let civil = Civil::new(millis.saturating_add(zone.offset_seconds * 1000));
        let mut out = String::new();
        for item in &self.items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Field(letter, count) => write_field(&mut out, *letter, *count, &civil, zone),
            }
        }
        out
    }

    /// Reads a time; milliseconds since 1970. `None` if the text does not fit.
    pub(crate) fn parse(&self, text: &str, now: i64) -> Option<i64> {
        let mut reader = Reader::new(text, now);
        for (index, item) in self.items.iter().enumerate() {
            match item {
                Item::Literal(literal) => {
                    reader.literal(literal)?;
                }
                Item::Field(letter, count) => {
                    // Next to another field only the number of letters says where this one ends.
                    let fixed = matches!(self.items.get(index + 1), Some(Item::Field(..)));
                    reader.field(*letter, *count, fixed)?;
                }
            }
        }
        reader.resolve()
    }
}

/// A field is padded to its number of letters, so that number has to have a bound.
const MOST_LETTERS: usize = 32;
