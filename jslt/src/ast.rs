//! A script as its author wrote it: names are still names.

use serde_json::Value;

use crate::error::Position;

/// A whole script.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) lets: Vec<Let>,
    pub(crate) functions: Vec<Function>,
    pub(crate) body: Node,
}

/// `let name = value`.
#[derive(Debug)]
pub(crate) struct Let {
    pub(crate) name: String,
    pub(crate) value: Node,
    pub(crate) position: Position,
}

/// `def name(parameters) lets body`.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) parameters: Vec<(String, Position)>,
    pub(crate) lets: Vec<Let>,
    pub(crate) body: Node,
}

/// An expression and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) position: Position,
}

/// An expression.
///
/// Whatever the grammar repeats is a list here, not a nest: a sum of ten thousand terms is one
/// node deep.
#[derive(Debug)]
pub(crate) enum NodeKind {
    Literal(Value),
    Context,
    Variable(String),
    Call {
        name: String,
        arguments: Vec<Node>,
    },
    Path {
        base: Box<Node>,
        links: Vec<Link>,
    },
    Array(Vec<Node>),
    ArrayFor(Box<For>),
    Object(Box<Object>),
    ObjectFor(Box<For>),
    If {
        branches: Vec<Branch>,
        otherwise: Option<Box<(Vec<Let>, Node)>>,
    },
    /// Operators of one precedence, applied from left to right.
    Chain {
        first: Box<Node>,
        rest: Vec<(Operator, Position, Node)>,
    },
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Pipe,
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// One step of a path: `.key`, `[index]` or `[from : to]`.
#[derive(Debug)]
pub(crate) enum Link {
    Key(String),
    Index(Node, Position),
    Slice(Option<Node>, Option<Node>, Position),
}

/// `if (condition) lets value`.
#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) condition: Node,
    pub(crate) lets: Vec<Let>,
    pub(crate) value: Node,
}

/// `for (source) lets key : value if (condition)`; arrays have no key.
#[derive(Debug)]
pub(crate) struct For {
    pub(crate) source: Node,
    pub(crate) lets: Vec<Let>,
    pub(crate) key: Option<Node>,
    pub(crate) value: Node,
    pub(crate) condition: Option<Node>,
}

/// `{ lets pairs matcher }`.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) lets: Vec<Let>,
    pub(crate) pairs: Vec<(Node, Node)>,
    pub(crate) matcher: Option<Matcher>,
}

/// `* - excluded : value`.
#[derive(Debug)]
pub(crate) struct Matcher {
    pub(crate) excluded: Vec<String>,
    pub(crate) value: Node,
    pub(crate) position: Position,
}
