//! What can go wrong, when a script is compiled and when it runs.

use std::fmt;

/// A place in the text of a script. Lines and columns start at 1; a column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The line, starting at 1.
    pub line: u32,
    /// The character within the line, starting at 1.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A script that is not valid JSLT.
///
/// ```
/// let error = jslt::Script::compile("{\n  \"a\" : ]\n}").unwrap_err();
/// assert_eq!((error.line(), error.column()), (2, 9));
/// assert_eq!(error.expected(), Some("an expression"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    // Boxed: the parser returns this from every function, and a small result is a fast result.
    detail: Box<CompileDetail>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct CompileDetail {
    position: Position,
    message: String,
    expected: Option<String>,
}

impl CompileError {
    pub(crate) fn new(position: Position, message: impl Into<String>) -> Self {
        Self { detail: Box::new(CompileDetail { position, message: message.into(), expected: None }) }
    }

    pub(crate) fn expected_at(position: Position, expected: &str, found: &str) -> Self {
        Self {
            detail: Box::new(CompileDetail {
                position,
                message: format!("found {found}"),
                expected: Some(expected.to_owned()),
            }),
        }
    }

    /// Where the script goes wrong.
    ///
    /// ```
    /// let error = jslt::Script::compile("1 +").unwrap_err();
    /// assert_eq!(error.position(), jslt::Position { line: 1, column: 4 });
    /// ```
    #[must_use]
    pub fn position(&self) -> Position {
        self.detail.position
    }

    /// The line on which the script goes wrong, starting at 1.
    ///
    /// ```
    /// assert_eq!(jslt::Script::compile("\n$nope").unwrap_err().line(), 2);
    /// ```
    #[must_use]
    pub fn line(&self) -> u32 {
        self.detail.position.line
    }

    /// The character of that line, starting at 1.
    ///
    /// ```
    /// assert_eq!(jslt::Script::compile("1 + $nope").unwrap_err().column(), 5);
    /// ```
    #[must_use]
    pub fn column(&self) -> u32 {
        self.detail.position.column
    }

    /// What is wrong, without the place.
    ///
    /// ```
    /// assert_eq!(jslt::Script::compile("$nope").unwrap_err().message(), "No such variable 'nope'");
    /// ```
    #[must_use]
    pub fn message(&self) -> &str {
        &self.detail.message
    }

    /// What the grammar allows at that place, when the error is one of grammar.
    ///
    /// ```
    /// assert_eq!(jslt::Script::compile("[1, 2").unwrap_err().expected(), Some("',' or ']'"));
    /// ```
    #[must_use]
    pub fn expected(&self) -> Option<&str> {
        self.detail.expected.as_deref()
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail.expected {
            Some(expected) => {
                write!(f, "expected {expected}, {} at {}", self.detail.message, self.detail.position)
            }
            None => write!(f, "{} at {}", self.detail.message, self.detail.position),
        }
    }
}

/// Which bound an evaluation ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitKind {
    /// [`Limits::steps`](crate::Limits::steps) is used up.
    Steps,
    /// Calls or expressions nest deeper than [`Limits::recursion`](crate::Limits::recursion) allows.
    Recursion,
    /// A string, an array or the result is larger than
    /// [`Limits::output_bytes`](crate::Limits::output_bytes).
    Output,
    /// The values built on the way add up to more than
    /// [`Limits::memory_bytes`](crate::Limits::memory_bytes).
    Memory,
    /// Arrays and objects nest deeper than a reader of JSON accepts.
    Nesting,
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steps => "the evaluation takes too many steps",
            Self::Recursion => "the evaluation recurses too deeply",
            Self::Output => "the evaluation produces too large a value",
            Self::Memory => "the evaluation uses too much memory",
            Self::Nesting => "the evaluation produces too deeply nested a value",
        })
    }
}

/// An evaluation that gave no value.
///
/// ```
/// use jslt::{Context, EvalError, Script};
/// use serde_json::Value;
///
/// let failure = |text| {
///     Script::compile(text).unwrap().evaluate(&Value::Null, &Context::default()).unwrap_err()
/// };
/// assert_eq!(failure("error(\"no name\")").to_string(), "error: no name");
/// assert_eq!(failure("1 < true").to_string(), "Can't compare 1 and true at line 1, column 3");
/// assert!(matches!(failure("def f(x) f($x) f(1)"), EvalError::Limit { .. }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The script called `error(...)`. The message begins with `error: `, as Java JSLT's does.
    #[error("{message}")]
    Raised {
        /// The whole message, with the `error: ` in front.
        message: String,
    },
    /// An operation met a value that it cannot work on.
    #[error("{message} at {position}")]
    Runtime {
        /// What went wrong.
        message: String,
        /// The operation in the script.
        position: Position,
    },
    /// The evaluation ran into one of its [`Limits`](crate::Limits).
    #[error("{limit}")]
    Limit {
        /// Which one.
        limit: LimitKind,
    },
}

impl EvalError {
    /// Where in the script the operation stands, if the error is of one operation.
    ///
    /// ```
    /// use jslt::{Context, Script};
    ///
    /// let error = Script::compile("1 +\n2 / 0")
    ///     .unwrap()
    ///     .evaluate(&serde_json::Value::Null, &Context::default())
    ///     .unwrap_err();
    /// assert_eq!(error.position().map(|p| (p.line, p.column)), Some((2, 3)));
    /// ```
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Runtime { position, .. } => Some(*position),
            Self::Raised { .. } | Self::Limit { .. } => None,
        }
    }
}

/// A failure inside the interpreter, before the place is known.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An operation failed; whoever knows the operation's place turns it into a located one.
    Message(String),
    /// Ready to be handed out.
    Done(EvalError),
}

/// What the interpreter passes around: one pointer wide when it is an error.
pub(crate) type Outcome<T> = Result<T, Box<Fault>>;

/// A failed operation.
pub(crate) fn fail<T>(message: impl Into<String>) -> Outcome<T> {
    Err(Box::new(Fault::Message(message.into())))
}

/// A limit that was reached.
pub(crate) fn over<T>(limit: LimitKind) -> Outcome<T> {
    Err(Box::new(Fault::Done(EvalError::Limit { limit })))
}

/// Adds the place to a failure that has none yet.
pub(crate) fn located<T>(outcome: Outcome<T>, position: Position) -> Outcome<T> {
    outcome.map_err(|fault| match *fault {
        Fault::Message(message) => Box::new(Fault::Done(EvalError::Runtime { message, position })),
        Fault::Done(_) => fault,
    })
}
