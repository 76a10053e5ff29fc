//! Tables of cases.

use std::cell::Cell;
use std::fmt::Write as _;

use jslt::{CompileError, CompileOptions, Context, EvalError, ObjectFilter, Script};
use serde_json::Value;

/// A script, its input and what it gives; the latter two as JSON text.
pub(crate) type Case = (&'static str, &'static str, &'static str);

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text} is not JSON: {error}"))
}

pub(crate) fn keep_all() -> CompileOptions {
    CompileOptions::default().with_object_filter(ObjectFilter::KeepAll)
}

/// Runs a script with the default filter; a failure becomes text.
pub(crate) fn run(script: &str, input: &str) -> Result<Value, String> {
    let script = Script::compile(script).map_err(|error| format!("compile: {error}"))?;
    script.evaluate(&json(input), &Context::default()).map_err(|error| error.to_string())
}

pub(crate) fn compile_error(script: &str) -> CompileError {
    match Script::compile(script) {
        Ok(_) => panic!("{script} compiles"),
        Err(error) => error,
    }
}

pub(crate) fn eval_error(script: &str, input: &str) -> EvalError {
    let compiled = Script::compile(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    match compiled.evaluate(&json(input), &Context::default()) {
        Ok(value) => panic!("{script} gives {value}"),
        Err(error) => error,
    }
}

fn check_with(cases: &[Case], options: &CompileOptions) {
    let mut failures = String::new();
    for (script, input, expected) in cases {
        let outcome = Script::compile_with_options(script, options)
            .map_err(|error| format!("compile: {error}"))
            .and_then(|script| {
                script.evaluate(&json(input), &Context::default()).map_err(|error| error.to_string())
            });
        let expected = json(expected);
        // The text is compared, too: it shows the order of members and the kind of numbers.
        let expected_text = expected.to_string();
        match outcome.map(|value| (value.to_string(), value)) {
            Ok((text, value)) if value == expected && text == expected_text => {}
            Ok((value, _)) => {
                let _ = writeln!(failures, "{script}\n   on {input}\n gives {value}\n   not {expected}");
            }
            Err(error) => {
                let _ = writeln!(failures, "{script}\n   on {input}\n fails {error}\n   not {expected}");
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    assert!(!cases.is_empty());
}

/// Checks cases with the language's default object filter.
pub(crate) fn check(cases: &[Case]) {
    check_with(cases, &CompileOptions::default());
}

/// Checks cases with the filter that keeps every member.
pub(crate) fn check_keep_all(cases: &[Case]) {
    check_with(cases, &keep_all());
}

/// Checks scripts that fail at run time, with `null` for input: the whole message, or its
/// beginning if that is marked by `...` at the end.
pub(crate) fn check_failures(cases: &[(&str, &str)]) {
    let mut failures = String::new();
    for (script, expected) in cases {
        let fits = |text: &str| match expected.strip_suffix("...") {
            Some(start) => text.starts_with(start),
            None => text == *expected,
        };
        match run(script, "null") {
            Err(message) if fits(&message) => {}
            other => {
                let _ = writeln!(failures, "{script}\n gives {other:?}\n   not {expected}");
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

/// A random source that counts up from a seed, scrambled.
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub(crate) fn roll(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    }
}
