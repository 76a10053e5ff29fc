//! The compiled script as its users see it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::compile::compile;
use crate::context::Context;
use crate::error::{CompileError, EvalError};
use crate::eval::Evaluator;
use crate::options::CompileOptions;
use crate::parser::parse;
use crate::program::Program;

/// A compiled script. Cloning it copies a pointer; threads may share it.
///
/// ```
/// use jslt::{Context, Script};
/// use serde_json::json;
///
/// let script = Script::compile("{ \"sum\" : .a + .b, * : . }")?;
/// let output = script.evaluate(&json!({"a": 1, "b": 2}), &Context::default())?;
/// assert_eq!(output, json!({"sum": 3, "a": 1, "b": 2}));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Script {
    program: Arc<Program>,
}

impl Script {
    /// Compiles a script with the default options.
    ///
    /// # Errors
    ///
    /// The text is not a valid script.
    ///
    /// ```
    /// assert!(jslt::Script::compile(".foo.bar[0]").is_ok());
    /// assert!(jslt::Script::compile(".foo.bar[]").is_err());
    /// ```
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        Self::compile_with_options(text, &CompileOptions::default())
    }

    /// Compiles a script.
    ///
    /// # Errors
    ///
    /// The text is not a valid script.
    ///
    /// ```
    /// use jslt::{CompileOptions, ObjectFilter, Script};
    ///
    /// let options = CompileOptions::default().with_object_filter(ObjectFilter::KeepAll);
    /// assert!(Script::compile_with_options("{\"a\" : .b}", &options).is_ok());
    /// ```
    pub fn compile_with_options(text: &str, options: &CompileOptions) -> Result<Self, CompileError> {
        Ok(Self { program: Arc::new(compile(parse(text)?, options)?) })
    }

    /// Runs the script on an input.
    ///
    /// # Errors
    ///
    /// The script raised an error, met a value it cannot work on, or reached a limit.
    ///
    /// ```
    /// use jslt::{Context, Script};
    /// use serde_json::json;
    ///
    /// let script = Script::compile("[for (.) . * 2]")?;
    /// assert_eq!(script.evaluate(&json!([1, 2.5]), &Context::default())?, json!([2, 5.0]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn evaluate(&self, input: &Value, context: &Context<'_>) -> Result<Value, EvalError> {
        Evaluator::run(&self.program, input, context)
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A whole program would drown the log line it stands in.
        f.debug_struct("Script").field("functions", &self.program.functions.len()).finish_non_exhaustive()
    }
}
