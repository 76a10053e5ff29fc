//! A bound for checking a value against a schema.
//!
//! A schema that leads back to itself through two branches takes twice as long for each level of the value, and the validator
//! knows no bound. So every schema within a schema first has to pass one more, which counts that it is looked at, and which
//! leaves the validator by unwinding once that was often enough.
//!
//! The validator looks at `allOf` before everything else in which schemas branch, and at keywords that it does not know last, when
//! it has often found already what it wanted to know: so the one that counts is the first of `allOf`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use jsonschema::{Keyword, ValidationError};
use serde_json::{Map, Value, json};

/// The keyword that counts; no schema of a client's has it.
pub(super) const KEYWORD: &str = "x-job-service-step";

thread_local! {
    static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
}

/// What unwinds when no step is left.
struct Exhausted;

/// What `check` comes to, unless it takes more than so many steps.
pub(super) fn within<T>(steps: u32, check: impl FnOnce() -> T) -> Option<T> {
    LEFT.set(steps);
    // Nothing outlives the validator's way but what it has compiled, which a check does not change.
    let outcome = catch_unwind(AssertUnwindSafe(check));
    LEFT.set(u32::MAX);
    match outcome {
        Ok(done) => Some(done),
        Err(cause) if cause.is::<Exhausted>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

pub(super) struct Step;

impl<'i> Keyword<'i> for Step {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        self.is_valid(instance);
        Ok(())
    }

    fn is_valid(&self, _instance: &'i Value) -> bool {
        match LEFT.get().checked_sub(1) {
            Some(left) => LEFT.set(left),
            None => resume_unwind(Box::new(Exhausted)),
        }
        true
    }
}

/// Has every schema in `schema` counted.
pub(super) fn count(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    for (keyword, value) in members.iter_mut() {
        match keyword.as_str() {
            // Values, which only look like schemas.
            "enum" | "const" | "default" | "example" | "examples" => {}
            "properties" | "patternProperties" | "definitions" | "$defs" | "dependencies"
            | "dependentSchemas" => {
                value.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(count);
            }
            // Anything else may be a schema, since a reference can point anywhere.
            _ => match value {
                Value::Array(schemas) => schemas.iter_mut().for_each(count),
                other => count(other),
            },
        }
    }
    let counting = json!({ KEYWORD: true });
    match members.get_mut("allOf") {
        Some(Value::Array(schemas)) => schemas.insert(0, counting),
        // Something else is an error that the validator is to find.
        Some(_) => {}
        None => drop(members.insert("allOf".to_owned(), Value::Array(vec![counting]))),
    }
}
