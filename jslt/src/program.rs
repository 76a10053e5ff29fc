//! A script made ready to run: names are slots and indices, constants are values.

use serde_json::Value;

use crate::error::Position;
use crate::functions::Builtin;
use crate::pattern::Pattern;
use crate::time_format::TimeFormat;

/// A compiled script.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) lets: Box<[Let]>,
    pub(crate) functions: Box<[Function]>,
    pub(crate) body: Expr,
    /// Variables outside of functions.
    pub(crate) global_slots: usize,
    /// The global slots that the context fills, by name.
    pub(crate) external: Box<[(String, u32)]>,
    pub(crate) keep_all: bool,
}

/// A function of the script.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) slots: usize,
    pub(crate) lets: Box<[Let]>,
    pub(crate) body: Expr,
}

/// Where a variable lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Outside of functions; there is one of it.
    Global(u32),
    /// In a function; every call has its own.
    Local(u32),
}

#[derive(Debug)]
pub(crate) struct Let {
    pub(crate) slot: Slot,
    pub(crate) value: Expr,
}

/// An expression.
#[derive(Debug)]
pub(crate) enum Expr {
    Constant(Value),
    Context,
    Local(u32),
    Global(Box<Global>),
    Path(Box<Path>),
    Array(Box<[Self]>),
    ArrayFor(Box<For>),
    Object(Box<Object>),
    ObjectFor(Box<For>),
    If(Box<If>),
    Pipe(Box<[Self]>),
    Or(Box<[Self]>),
    And(Box<[Self]>),
    Compare(Box<Comparison>),
    Arithmetic(Box<Arithmetic>),
    Call(Box<Call>),
    Builtin(Box<BuiltinCall>),
}

/// A variable outside of functions. A function can be called before the variable has its value, so
/// reading it can fail.
#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) slot: u32,
    pub(crate) name: String,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) base: Expr,
    pub(crate) steps: Box<[Step]>,
}

#[derive(Debug)]
pub(crate) enum Step {
    Key(String),
    Index(Expr, Position),
    Slice(Option<Expr>, Option<Expr>, Position),
}

#[derive(Debug)]
pub(crate) struct For {
    pub(crate) source: Expr,
    pub(crate) lets: Box<[Let]>,
    pub(crate) key: Option<Expr>,
    pub(crate) value: Expr,
    pub(crate) condition: Option<Expr>,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) lets: Box<[Let]>,
    pub(crate) pairs: Box<[Pair]>,
    /// A key is computed, so that two can turn out equal.
    pub(crate) dynamic: bool,
    pub(crate) matcher: Option<Matcher>,
}

#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) key: Key,
    pub(crate) value: Expr,
    pub(crate) position: Position,
}

#[derive(Debug)]
pub(crate) enum Key {
    Static(String),
    Dynamic(Expr),
}

#[derive(Debug)]
pub(crate) struct Matcher {
    /// The keys that lead from the context to the object whose members are copied.
    pub(crate) source: Box<[String]>,
    /// Keys that are not copied, sorted.
    pub(crate) excluded: Box<[String]>,
    pub(crate) value: Expr,
}

#[derive(Debug)]
pub(crate) struct If {
    pub(crate) branches: Box<[Branch]>,
    pub(crate) otherwise: Option<(Box<[Let]>, Expr)>,
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) condition: Expr,
    pub(crate) lets: Box<[Let]>,
    pub(crate) value: Expr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareOperator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) operator: CompareOperator,
    pub(crate) left: Expr,
    pub(crate) right: Expr,
    pub(crate) position: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArithmeticOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// Operators of one precedence, from left to right.
#[derive(Debug)]
pub(crate) struct Arithmetic {
    pub(crate) first: Expr,
    pub(crate) rest: Box<[(ArithmeticOperator, Position, Expr)]>,
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: u32,
    pub(crate) arguments: Box<[Expr]>,
}

#[derive(Debug)]
pub(crate) struct BuiltinCall {
    pub(crate) function: Builtin,
    pub(crate) arguments: Box<[Expr]>,
    pub(crate) position: Position,
    pub(crate) prepared: Prepared,
}

/// What a constant argument was turned into ahead of time.
#[derive(Debug)]
pub(crate) enum Prepared {
    Nothing,
    Pattern(Pattern),
    TimeFormat(TimeFormat),
}
