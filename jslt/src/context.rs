//! What an evaluation gets from outside, besides its input.

use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use crate::limits::Limits;

/// The surroundings of an evaluation: limits, clock, randomness and variables.
///
/// A script is a pure function of its input until its caller opens a door: without a clock
/// `now()` fails, and without a random source so do `random()` and `uuid()`.
///
/// ```
/// use jslt::{Context, Script};
/// use serde_json::{Value, json};
///
/// let clock = || 1_500;
/// let context = Context::default().with_clock(&clock);
/// let script = Script::compile("now()")?;
/// assert_eq!(script.evaluate(&Value::Null, &context)?, json!(1.5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Context<'c> {
    pub(crate) limits: Limits,
    pub(crate) clock: Option<&'c dyn Fn() -> i64>,
    pub(crate) random: Option<&'c dyn Fn() -> u64>,
    pub(crate) variables: HashMap<&'c str, &'c Value>,
}

impl<'c> Context<'c> {
    /// Sets the limits.
    ///
    /// ```
    /// use jslt::{Context, Limits, Script};
    ///
    /// let context = Context::default().with_limits(Limits { steps: 10, ..Limits::default() });
    /// let script = Script::compile("[for (.) . * 2]")?;
    /// assert!(script.evaluate(&serde_json::json!([1, 2, 3, 4, 5]), &context).is_err());
    /// # Ok::<(), jslt::CompileError>(())
    /// ```
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Gives the script a clock: milliseconds since 1970-01-01T00:00:00Z.
    ///
    /// Two-digit years are read by it, too; without a clock they are read as if it were 2000.
    ///
    /// ```
    /// let clock = || 0;
    /// let _ = jslt::Context::default().with_clock(&clock);
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: &'c dyn Fn() -> i64) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Gives the script a source of 64 random bits.
    ///
    /// ```
    /// use jslt::{Context, Script};
    /// use serde_json::{Value, json};
    ///
    /// let dice = || 1 << 63;
    /// let context = Context::default().with_random(&dice);
    /// let script = Script::compile("random()")?;
    /// assert_eq!(script.evaluate(&Value::Null, &context)?, json!(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_random(mut self, random: &'c dyn Fn() -> u64) -> Self {
        self.random = Some(random);
        self
    }

    /// Supplies a variable that the script was compiled to expect, see
    /// [`CompileOptions::with_variable`](crate::CompileOptions::with_variable).
    ///
    /// ```
    /// use jslt::{CompileOptions, Context, Script};
    /// use serde_json::{Value, json};
    ///
    /// let options = CompileOptions::default().with_variable("greeting");
    /// let script = Script::compile_with_options("$greeting + \" world\"", &options)?;
    /// let greeting = json!("hello");
    /// let context = Context::default().with_variable("greeting", &greeting);
    /// assert_eq!(script.evaluate(&Value::Null, &context)?, json!("hello world"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_variable(mut self, name: &'c str, value: &'c Value) -> Self {
        self.variables.insert(name, value);
        self
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("limits", &self.limits)
            .field("clock", &self.clock.is_some())
            .field("random", &self.random.is_some())
            .field("variables", &self.variables)
            .finish()
    }
}
