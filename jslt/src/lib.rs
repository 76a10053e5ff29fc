//! JSLT: a query and transformation language for JSON, evaluated within bounds.
//!
//! A script is compiled once and run on many inputs. It is an expression: JSON with paths into the
//! input (`.order.lines[0]`), operators, conditions, comprehensions, variables and functions.
//!
//! ```
//! use jslt::{Context, Script};
//! use serde_json::json;
//!
//! let script = Script::compile(
//!     r#"
//!     let discount = if (.total > 100) 0.1 else 0
//!
//!     def label(line)
//!       $line.count + " x " + $line.name
//!
//!     {
//!       "id"    : "order-" + .id,
//!       "lines" : [for (.lines) label(.) if (.count > 0)],
//!       "pay"   : round(.total * (1 - $discount)),
//!       * - total, lines : .
//!     }
//!     "#,
//! )?;
//!
//! let order = json!({
//!     "id": 7,
//!     "total": 120,
//!     "lines": [{"name": "nut", "count": 3}, {"name": "bolt", "count": 0}],
//!     "customer": "Ada",
//! });
//! assert_eq!(
//!     script.evaluate(&order, &Context::default())?,
//!     json!({"id": "order-7", "lines": ["3 x nut"], "pay": 108, "customer": "Ada"}),
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The language in short
//!
//! | Written | Means |
//! | --- | --- |
//! | `.` | the context: the input, or the element inside a comprehension |
//! | `.key`, `."any key"` | a member; `null` if there is none |
//! | `.list[0]`, `.list[-1]`, `.text[1 : 3]` | an element, a slice; negative positions count from the end |
//! | `+ - * /` | arithmetic; `+` also joins strings, arrays and objects, `*` repeats strings |
//! | `== != < <= > >=`, `and`, `or` | comparison and logic; `null` is less than everything |
//! | `a \| b` | `b` with the value of `a` for its context |
//! | `if (a) b else c` | without `else`: `null` |
//! | `[for (a) b if (c)]`, `{for (a) k : v if (c)}` | comprehensions over arrays, or objects as `key` and `value` |
//! | `{ "a" : 1, * - b : . }` | an object with a matcher: all other members of the input but `b` |
//! | `let x = a`, `$x` | a variable, at the start of a script, function, object, branch or loop |
//! | `def f(x) a`, `f(1)` | a function |
//!
//! `-` is a character of names: `a-b` is one name, subtraction needs spaces.
//!
//! # Functions
//!
//! * Of any value: `contains` `size` `error` `fallback` `min` `max` `boolean` `not` `is-boolean`
//! * Of numbers: `is-number` `is-integer` `is-decimal` `number` `round` `floor` `ceiling` `random`
//!   `sum` `mod` `hash-int`
//! * Of strings: `is-string` `string` `test` `capture` `split` `join` `lowercase` `uppercase`
//!   `sha256-hex` `starts-with` `ends-with` `from-json` `to-json` `replace` `trim` `uuid`
//! * Of objects: `is-object` `get-key`
//! * Of arrays: `array` `is-array` `flatten` `all` `any` `zip` `zip-with-index` `index-of`
//! * Of times and URLs: `now` `parse-time` `format-time` `parse-url`
//!
//! # Bounds
//!
//! [`Limits`] bound the steps, the recursion and the memory of an evaluation, so that a script from
//! anybody can run in a shared process. Regular expressions match in linear time. A script cannot
//! import modules, and it has no clock and no randomness but what its [`Context`] gives it.
//!
//! # Differences from Java's JSLT
//!
//! A script is meant to give what version 0.1.14 gives. These are the differences that are known.
//!
//! * A variable that is neither declared by the script nor by [`CompileOptions::with_variable`] is
//!   an error of compilation, not of evaluation.
//! * A `let` inside a loop, a condition or an object may use an outer variable of its own name.
//! * Integers are of one kind: where Java finds `[1 + 1]` and `[2]` unequal, they are equal here.
//!   Strings that hold integers beyond 64 bits become doubles.
//!   `round`, `floor` and `ceiling` leave integers exactly as they are.
//! * Division by zero and results that are not finite are errors.
//! * A constant pattern or time format that is wrong is an error of compilation, wherever it stands.
//! * Slices reach no further than what they slice; Java fills arrays up with `null` and fails on
//!   strings. Half of a surrogate pair becomes U+FFFD.
//! * Where Java's grammar takes `a:b` for the name of an imported function, as in `.[1:2]`, these
//!   are two words and a colon. `. .key` is `.key`.
//! * Matchers work wherever a place in the input corresponds to theirs, also in object
//!   comprehensions, in conditions and inside other matchers.
//! * Regular expressions cannot look around or refer back, `$` matches at the very end only, and
//!   case is ignored for all letters, not just ASCII.
//! * Times are read and written in English, by the Gregorian calendar in all years; zones show
//!   their abbreviations (`zzzz` too).
#![forbid(unsafe_code)]

mod ast;
mod calendar;
mod compile;
mod context;
mod convert;
mod error;
mod eval;
mod functions;
mod json;
mod lexer;
mod limits;
mod object;
mod options;
mod parser;
mod pattern;
mod program;
mod scope;
mod script;
mod time_format;
mod token;
mod value;

pub use context::Context;
pub use error::{CompileError, EvalError, LimitKind, Position};
pub use limits::Limits;
pub use options::{CompileOptions, ObjectFilter};
pub use script::Script;
