//! What is wrong with the text of a filter, and where.

use winnow::error::{AddContext, ParserError};
use winnow::stream::{Location, Stream};

use crate::error::Error;

/// Why a text is not a filter.
#[derive(Debug)]
pub(super) struct Fault {
    /// The byte where the text goes wrong, at a character boundary.
    at: usize,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// Something else has to stand here; what, is not said yet.
    Unexpected,
    /// This has to stand here.
    Expected(&'static str),
    /// What stands here has this wrong with it.
    Refused(String),
    /// This key names nothing that can be tested.
    UnknownKey(String),
}

impl Fault {
    /// The text breaks a rule that is not one of grammar.
    pub(super) fn refused(at: usize, what: impl Into<String>) -> Self {
        Self { at, why: Why::Refused(what.into()) }
    }

    /// The contract has a message of its own for keys.
    pub(super) fn unknown_key(at: usize, key: &str) -> Self {
        Self { at, why: Why::UnknownKey(shown(key)) }
    }

    /// For the client who wrote `text`.
    pub(super) fn explain(self, text: &str) -> Error {
        let (before, rest) = text.split_at(self.at);
        // As people count, from 1.
        let character = before.chars().count() + 1;
        let what = match self.why {
            Why::UnknownKey(key) => {
                return Error::invalid(format!(
                    "Unsupported filter key specified: {key} (character {character}; expected id, name, status, \
                     percentageComplete or labels.KEY)"
                ));
            }
            Why::Refused(what) => what,
            Why::Expected(what) => format!("expected {what}, found {}", found(rest)),
            Why::Unexpected => format!("unexpected {}", found(rest)),
        };
        Error::invalid(format!("Unable to parse filter: character {character}: {what}"))
    }
}

fn found(rest: &str) -> String {
    match rest.trim_end() {
        "" => "the end".to_owned(),
        rest => format!("{:?}", rest.chars().take(20).collect::<String>()),
    }
}

/// As much of a text as a message repeats.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

impl<I: Stream + Location> ParserError<I> for Fault {
    type Inner = Self;

    fn from_input(input: &I) -> Self {
        Self { at: input.current_token_start(), why: Why::Unexpected }
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

/// The context of a parser is what it expects, as one says it behind "expected".
impl<I: Stream> AddContext<I> for Fault {
    fn add_context(self, _: &I, _: &I::Checkpoint, expected: &'static str) -> Self {
        match self.why {
            Why::Unexpected => Self { why: Why::Expected(expected), ..self },
            _ => self,
        }
    }
}
