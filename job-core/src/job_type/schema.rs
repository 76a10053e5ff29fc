//! JSON Schema without network, files or regular expressions that backtrack, and its errors in the contract's words.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::steps::{self, Step, within};
use crate::excerpt::excerpt;

/// Largest compiled form of one pattern.
const PATTERN_BYTES_MAX: usize = 64 * 1024;
/// How many schemas are looked at to find out whether a value is right. Large parameters take a tenth of it.
const STEPS_MAX: u32 = 1_000_000;
/// And to say what is wrong with it; each may leave an error behind, so that this bounds memory too.
const ERROR_STEPS_MAX: u32 = 50_000;
/// Most lines of errors; the rest is counted.
const LINES_MAX: usize = 20;
/// Longest name or value of the client's that a line repeats.
const EXCERPT_CHARACTERS_MAX: usize = 60;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema {
    document: Value,
    validator: Validator,
}

impl Schema {
    /// Compiles a schema of the dialect that its `$schema` names, or of draft-04.
    pub(super) fn compile(document: Value) -> Result<Self, String> {
        let draft = match document.get("$schema") {
            None => Draft::Draft4,
            Some(Value::String(uri)) => dialect(uri)?,
            Some(_) => return Err("$schema is not a text".to_owned()),
        };
        if !document.is_object() {
            return Err("it is not an object".to_owned());
        }
        let mut counted = document.clone();
        steps::count(&mut counted);
        // What is wrong is looked for in what the author wrote, so that its place is the author's.
        validator(draft, &document).map_err(|error| reason(&error))?;
        let validator = validator(draft, &counted).map_err(|error| reason(&error))?;
        Ok(Self { document, validator })
    }

    pub(super) fn document(&self) -> &Value {
        &self.document
    }

    /// One line per error; empty when `value` is right.
    pub(super) fn errors(&self, value: &Value) -> Vec<String> {
        match within(STEPS_MAX, || self.validator.is_valid(value)) {
            Some(true) => return Vec::new(),
            Some(false) => {}
            None => {
                return vec![format!(
                    "$: cannot be checked: it would take more than {STEPS_MAX} comparisons with the schema, which goes the \
                     same ways again and again"
                )];
            }
        }
        let all = within(ERROR_STEPS_MAX, || lines(value, self.validator.iter_errors(value)));
        let first =
            || within(ERROR_STEPS_MAX, || lines(value, self.validator.validate(value).err().into_iter()));
        let some = || {
            let mut lines = first().unwrap_or_else(|| {
                vec!["$: does not match the schema, in more ways than can be told".to_owned()]
            });
            lines.push("...".to_owned());
            lines
        };
        all.unwrap_or_else(some)
    }
}

fn validator(draft: Draft, document: &Value) -> Result<Validator, ValidationError<'_>> {
    let patterns =
        PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(2 * PATTERN_BYTES_MAX);
    jsonschema::options()
        .with_draft(draft)
        .offline()
        .with_pattern_options(patterns)
        .with_keyword(steps::KEYWORD, |_, _, _| Ok(Box::new(Step)))
        .build(document)
}

/// Why a document is no schema.
fn reason(error: &ValidationError<'_>) -> String {
    let path = path_text(error.instance_path());
    match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => format!(
            "{path}: {} cannot be used as a pattern: it is wrong, larger than {PATTERN_BYTES_MAX} bytes when compiled, or looks \
             ahead, behind or back, which takes unbounded time",
            excerpt(&error.instance().to_string(), EXCERPT_CHARACTERS_MAX)
        ),
        _ => format!("{path}: {error}"),
    }
}

/// What the errors say, up to a bound.
fn lines<'a>(value: &Value, errors: impl Iterator<Item = ValidationError<'a>>) -> Vec<String> {
    let mut lines = Vec::new();
    for error in errors {
        push_lines(value, &error, &mut lines);
        if lines.len() > LINES_MAX {
            lines.truncate(LINES_MAX);
            lines.push("...".to_owned());
            break;
        }
    }
    lines
}

fn dialect(uri: &str) -> Result<Draft, String> {
    let name = uri.trim_end_matches('#').split_once("://").map_or(uri, |(_, rest)| rest);
    Ok(match name {
        "json-schema.org/draft-04/schema" => Draft::Draft4,
        "json-schema.org/draft-06/schema" => Draft::Draft6,
        "json-schema.org/draft-07/schema" => Draft::Draft7,
        "json-schema.org/draft/2019-09/schema" => Draft::Draft201909,
        "json-schema.org/draft/2020-12/schema" => Draft::Draft202012,
        _ => {
            return Err(format!(
                "the dialect {uri:?} is not known: expected one of draft-04, draft-06, draft-07, draft/2019-09, \
                 draft/2020-12 at http://json-schema.org/"
            ));
        }
    })
}

fn push_lines(root: &Value, error: &ValidationError<'_>, lines: &mut Vec<String>) {
    let path = path_text(error.instance_path());
    let mut line = |text: String| lines.push(format!("{path}: {text}"));
    match error.kind() {
        ValidationErrorKind::Type { kind } => {
            line(format!("{} found, {} expected", type_name(error.instance()), expected_types(kind)));
        }
        ValidationErrorKind::Required { property } => {
            line(format!("required property '{}' not found", property.as_str().unwrap_or_default()));
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().take(LINES_MAX).for_each(|name| line(unexpected_property(name)));
        }
        // How the validator puts it where the schema names no property at all: the object's path, a member's value.
        ValidationErrorKind::FalseSchema
            if error.schema_path().as_str().ends_with("/additionalProperties") =>
        {
            let object = root.pointer(error.instance_path().as_str()).and_then(Value::as_object);
            let members = object.into_iter().flatten();
            members.take(LINES_MAX).for_each(|(name, _)| line(unexpected_property(name)));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            // What each branch misses tells more than that all of them do.
            context.iter().flatten().take(LINES_MAX).for_each(|error| push_lines(root, error, lines));
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            line("must be valid to one and only one schema, but more are valid".to_owned());
        }
        ValidationErrorKind::Enum { options } => {
            line(format!(
                "does not have a value in the enumeration {}",
                excerpt(&options.to_string(), EXCERPT_CHARACTERS_MAX)
            ));
        }
        ValidationErrorKind::Constant { expected_value } => {
            line(format!(
                "must be the constant value '{}'",
                excerpt(&expected_value.to_string(), EXCERPT_CHARACTERS_MAX)
            ));
        }
        ValidationErrorKind::MinLength { limit } => line(format!("must be at least {limit} characters long")),
        ValidationErrorKind::MaxLength { limit } => line(format!("must be at most {limit} characters long")),
        ValidationErrorKind::Minimum { limit } => line(format!("must have a minimum value of {limit}")),
        ValidationErrorKind::Maximum { limit } => line(format!("must have a maximum value of {limit}")),
        ValidationErrorKind::ExclusiveMinimum { limit } => {
            line(format!("must have an exclusive minimum value of {limit}"));
        }
        ValidationErrorKind::ExclusiveMaximum { limit } => {
            line(format!("must have an exclusive maximum value of {limit}"));
        }
        ValidationErrorKind::MinItems { limit } => {
            line(format!("must have at least {limit} items but found {}", length(error.instance())));
        }
        ValidationErrorKind::MaxItems { limit } => {
            line(format!("must have at most {limit} items but found {}", length(error.instance())));
        }
        ValidationErrorKind::MinProperties { limit } => {
            line(format!("must have at least {limit} properties"));
        }
        ValidationErrorKind::MaxProperties { limit } => {
            line(format!("must have at most {limit} properties"));
        }
        ValidationErrorKind::Pattern { pattern } => {
            line(format!("does not match the regex pattern {}", excerpt(pattern, EXCERPT_CHARACTERS_MAX)));
        }
        ValidationErrorKind::Format { format } => line(format!("does not match the {format} pattern")),
        ValidationErrorKind::UniqueItems => line("must have only unique items in the array".to_owned()),
        ValidationErrorKind::MultipleOf { multiple_of } => line(format!("must be multiple of {multiple_of}")),
        _ => line(error.masked().to_string()),
    }
}

fn unexpected_property(name: &str) -> String {
    format!(
        "property '{}' is not defined in the schema and the schema does not allow additional properties",
        excerpt(name, EXCERPT_CHARACTERS_MAX)
    )
}

fn length(value: &Value) -> usize {
    value.as_array().map_or(0, Vec::len)
}

/// `$.a[0]`, as the contract's validator writes places.
fn path_text(path: &Location) -> String {
    let mut text = "$".to_owned();
    for segment in path {
        match segment {
            LocationSegment::Property(name) => {
                text.push('.');
                text.push_str(&excerpt(&name, EXCERPT_CHARACTERS_MAX));
            }
            LocationSegment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn expected_types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(expected) => expected.to_string(),
        TypeKind::Multiple(expected) => {
            let names: Vec<String> = expected.iter().map(|expected| expected.to_string()).collect();
            format!("[{}]", names.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(schema: Value, value: &Value) -> String {
        Schema::compile(schema).unwrap().errors(value).join("\n")
    }

    #[test]
    fn errors_read_as_those_of_the_contracts_validator() {
        let of_a = |schema: Value| json!({"properties": {"a": schema}});
        for (schema, value, expected) in [
            (json!({"type": "null"}), json!("x"), "$: string found, null expected"),
            (of_a(json!({"type": "number"})), json!({"a": "x"}), "$.a: string found, number expected"),
            (json!({"items": {"type": "string"}}), json!(["x", 1]), "$[1]: integer found, string expected"),
            (json!({"type": ["string", "null"]}), json!(1.5), "$: number found, [null, string] expected"),
            (json!({"type": "integer"}), json!(1.5), "$: number found, integer expected"),
            (
                json!({"additionalProperties": false}),
                json!({"x": 1}),
                "$: property 'x' is not defined in the schema and the schema does not allow additional properties",
            ),
            (json!({"required": ["x"]}), json!({}), "$: required property 'x' not found"),
            (json!({"enum": ["a", 1]}), json!("b"), "$: does not have a value in the enumeration [\"a\",1]"),
            (json!({"minLength": 2}), json!("b"), "$: must be at least 2 characters long"),
            (json!({"maximum": 2}), json!(3), "$: must have a maximum value of 2"),
            (json!({"minItems": 2}), json!([3]), "$: must have at least 2 items but found 1"),
            (json!({"pattern": "^a+$"}), json!("b"), "$: does not match the regex pattern ^a+$"),
            (json!({"uniqueItems": true}), json!([1, 1]), "$: must have only unique items in the array"),
            (
                json!({"anyOf": [{"type": "null"}, {"type": "array"}]}),
                json!(1),
                "$: integer found, null expected\n$: integer found, array expected",
            ),
        ] {
            assert_eq!(errors(schema.clone(), &value), expected, "{schema}");
        }
    }

    #[test]
    fn the_dialect_is_draft_4_unless_the_schema_names_another() {
        // `exclusiveMinimum` is a boolean in draft-04 and a number later.
        let schema = json!({"minimum": 1, "exclusiveMinimum": true});
        assert!(!errors(schema, &json!(1)).is_empty());
        let schema = json!({"$schema": "http://json-schema.org/draft-07/schema#", "exclusiveMinimum": 1});
        assert_eq!(errors(schema, &json!(1)), "$: must have an exclusive minimum value of 1");
    }

    #[test]
    fn errors_are_bounded_however_wrong_the_value_is() {
        let value: Value = (0..10_000).map(|_| json!("x".repeat(1_000))).collect();
        let lines = errors(json!({"items": {"enum": ["y".repeat(1_000)]}}), &value);
        assert_eq!(lines.lines().count(), LINES_MAX + 1);
        assert!(lines.len() < 5_000, "{lines}");
        let names = json!({"n".repeat(10_000): 1});
        assert!(errors(json!({"additionalProperties": {"type": "null"}}), &names).len() < 300);
    }

    /// `{"kind": leaf}` under so many levels of `{"child": ..., "kind": "b"}`.
    fn nested(levels: usize, leaf: &str) -> Value {
        (0..levels).fold(json!({"kind": leaf}), |child, _| json!({"child": child, "kind": "b"}))
    }

    #[test]
    fn schemas_that_lead_back_to_themselves_twice_take_bounded_time() {
        let kind = |name: &str| json!({"properties": {"child": {"$ref": "#/definitions/n"}, "kind": {"enum": [name]}}, "required": ["kind"]});
        let tree = json!({
            "definitions": {"n": {"oneOf": [kind("a"), kind("b")]}},
            "$ref": "#/definitions/n",
        });
        assert_eq!(errors(tree.clone(), &nested(10, "a")), "");
        assert!(
            errors(tree.clone(), &nested(6, "c")).starts_with("$.child.child"),
            "{}",
            errors(tree.clone(), &nested(6, "c"))
        );
        let deep = errors(tree, &nested(60, "c"));
        assert!(deep.starts_with("$: does not match the schema, in more ways"), "{deep}");
        let mut chain = json!({"definitions": {"n30": {"type": "string"}}, "$ref": "#/definitions/n0"});
        for link in 0..30 {
            let next = json!({"$ref": format!("#/definitions/n{}", link + 1)});
            chain["definitions"][format!("n{link}")] = json!({"anyOf": [next.clone(), next]});
        }
        assert_eq!(errors(chain.clone(), &json!("x")), "");
        let chained = errors(chain, &json!(1));
        assert!(chained.starts_with("$: cannot be checked: it would take more than"), "{chained}");
    }

    #[test]
    fn of_many_wrong_items_the_first_is_named() {
        let schema = json!({"items": {"anyOf": [{"type": "string"}, {"type": "null"}, {"type": "object"}]}});
        let numbers: Value = (0..80_000).collect();
        let lines = errors(schema.clone(), &numbers);
        assert!(
            lines.starts_with("$[0]: integer found, string expected") && lines.ends_with("\n..."),
            "{lines}"
        );
        let texts: Value = (0..80_000).map(|number| json!(number.to_string())).collect();
        assert_eq!(errors(schema, &texts), "");
    }

    #[test]
    fn a_schema_is_counted_wherever_a_reference_can_point_and_values_are_left_alone() {
        let mut schema = json!({
            "properties": {"a": {"enum": [{"b": 1}], "default": {}}},
            "x": {"y": {"items": [{}]}},
            "allOf": [{"not": {}}],
        });
        steps::count(&mut schema);
        let counted = json!([{steps::KEYWORD: true}]);
        assert_eq!(
            schema,
            json!({
                "properties": {"a": {"enum": [{"b": 1}], "default": {}, "allOf": counted}},
                "x": {"y": {"items": [{"allOf": counted}], "allOf": counted}, "allOf": counted},
                "allOf": [{steps::KEYWORD: true}, {"not": {"allOf": counted}, "allOf": counted}],
            })
        );
    }

    #[test]
    fn why_a_document_is_no_schema_is_told_where_its_author_finds_it() {
        for (schema, expected) in [
            (json!({"allOf": [{"type": 1}]}), "$.allOf[0].type: "),
            (json!({"allOf": 1}), "$.allOf: "),
            (
                json!({"pattern": "^(?!x)"}),
                "$.pattern: \"^(?!x)\" cannot be used as a pattern: it is wrong, larger than",
            ),
            (json!({"pattern": "^(a{0,50}){0,5000}$"}), "$.pattern: "),
        ] {
            let reason = Schema::compile(schema.clone()).unwrap_err();
            assert!(reason.starts_with(expected), "{schema}: {reason}");
        }
    }
}
