//! Settings of the compiler.

/// Which members an object expression keeps.
///
/// ```
/// use jslt::{CompileOptions, Context, ObjectFilter, Script};
/// use serde_json::{Value, json};
///
/// let text = "{\"a\" : null, \"b\" : [], \"c\" : 1}";
/// let run = |filter| {
///     Script::compile_with_options(text, &CompileOptions::default().with_object_filter(filter))
///         .unwrap()
///         .evaluate(&Value::Null, &Context::default())
///         .unwrap()
/// };
/// assert_eq!(run(ObjectFilter::Default), json!({"c": 1}));
/// assert_eq!(run(ObjectFilter::KeepAll), json!({"a": null, "b": [], "c": 1}));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ObjectFilter {
    /// Members whose value is `null`, `{}` or `[]` are left out, as the language's own default is.
    #[default]
    Default,
    /// Every member stays.
    KeepAll,
}

/// Settings for [`Script::compile_with_options`](crate::Script::compile_with_options).
///
/// ```
/// use jslt::{CompileOptions, ObjectFilter};
///
/// let options =
///     CompileOptions::default().with_object_filter(ObjectFilter::KeepAll).with_variable("salt");
/// assert!(jslt::Script::compile_with_options("$salt", &options).is_ok());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    pub(crate) object_filter: ObjectFilter,
    pub(crate) variables: Vec<String>,
}

impl CompileOptions {
    /// Sets which members object expressions keep.
    ///
    /// ```
    /// use jslt::{CompileOptions, ObjectFilter};
    ///
    /// let _ = CompileOptions::default().with_object_filter(ObjectFilter::KeepAll);
    /// ```
    #[must_use]
    pub fn with_object_filter(mut self, filter: ObjectFilter) -> Self {
        self.object_filter = filter;
        self
    }

    /// Declares a variable that the evaluation's [`Context`](crate::Context) will supply.
    ///
    /// A script may only use variables that it or this declares: a misspelt name is found when
    /// the script is saved, not when it runs.
    ///
    /// ```
    /// use jslt::{CompileOptions, Script};
    ///
    /// assert!(Script::compile("$tenant").is_err());
    /// let options = CompileOptions::default().with_variable("tenant");
    /// assert!(Script::compile_with_options("$tenant", &options).is_ok());
    /// ```
    #[must_use]
    pub fn with_variable(mut self, name: impl Into<String>) -> Self {
        self.variables.push(name.into());
        self
    }
}
