//! Reading a definition: everything about it is checked here, so that creating a job meets no surprise.

use std::collections::BTreeMap;
use std::sync::Arc;

use jslt::{CompileOptions, ObjectFilter, Script};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::schema::Schema;
use super::{Inner, JobType};
use crate::excerpt::excerpt;

/// Largest definition, in bytes.
pub const DEFINITION_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of a definition.
const DEPTH_MAX: usize = 32;
/// Most nodes of a definition, with its aliases followed.
const NODES_MAX: usize = 20_000;
/// Most nodes that aliases may stand for.
const ALIASED_NODES_MAX: usize = 1_000;
/// How much of a definition an error repeats.
const EXCERPT_CHARACTERS_MAX: usize = 200;

/// Why a definition is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DefinitionError {
    /// It is larger than [`DEFINITION_BYTES_MAX`].
    #[error("{id}: the definition is {bytes} bytes long: at most {DEFINITION_BYTES_MAX} are allowed")]
    TooLarge {
        /// The job type.
        id: String,
        /// How long it is.
        bytes: usize,
    },
    /// It is not YAML, or has members or types of value that a definition does not have.
    #[error("{id}: Invalid syntax or format: {reason}")]
    Syntax {
        /// The job type.
        id: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A member is missing.
    #[error("{id}: {place}missing property: {property}")]
    Missing {
        /// The job type.
        id: String,
        /// Where, with `: ` behind it; empty at the top.
        place: &'static str,
        /// The member.
        property: &'static str,
    },
    /// A value that the operator has to configure is not.
    #[error("{id}: configuration is not available: {name}")]
    Configuration {
        /// The job type.
        id: String,
        /// Its name in the definition.
        name: String,
    },
    /// The schema of the parameters is not one.
    #[error("{id}: invalid jobParametersSchema: {reason}")]
    Schema {
        /// The job type.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// The script is not JSLT.
    #[error("{id}: invalid taskDataScript: {reason}")]
    Script {
        /// The job type.
        id: String,
        /// What is wrong, with line and column within the script.
        reason: String,
    },
    /// Two definitions have one id.
    #[error("Duplicate job type ID: {id}")]
    Duplicate {
        /// The id.
        id: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Definition {
    configuration_properties: Option<Vec<ConfigurationProperty>>,
    job_parameters_schema: Option<Value>,
    task_script: Option<String>,
    constants: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigurationProperty {
    name: Option<String>,
    #[expect(dead_code, reason = "read so that it may be there, for people")]
    description: Option<String>,
}

impl JobType {
    /// Reads the definition of `id`. `configuration` looks up the value of a property by its upper-cased name.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn load(
        id: &str,
        yaml: &str,
        configuration: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, DefinitionError> {
        let definition = parse(id, yaml)?;
        let mut values = Map::new();
        for property in definition.configuration_properties.unwrap_or_default() {
            let Some(name) = property.name else {
                let place = "configurationProperties item: ";
                return Err(DefinitionError::Missing { id: id.to_owned(), place, property: "name" });
            };
            match configuration(&name.to_uppercase()) {
                Some(value) => drop(values.insert(name, Value::String(value))),
                None => return Err(DefinitionError::Configuration { id: id.to_owned(), name }),
            }
        }
        let document = definition.job_parameters_schema.unwrap_or_else(|| json!({ "type": "null" }));
        let schema = Schema::compile(document).map_err(|reason| DefinitionError::Schema {
            id: id.to_owned(),
            reason: excerpt(&reason, EXCERPT_CHARACTERS_MAX),
        })?;
        let Some(script_text) = definition.task_script else {
            return Err(DefinitionError::Missing { id: id.to_owned(), place: "", property: "taskScript" });
        };
        // Null and empty members of the task data mean something to workers.
        let options = CompileOptions::default().with_object_filter(ObjectFilter::KeepAll);
        let script = Script::compile_with_options(&script_text, &options).map_err(|error| {
            DefinitionError::Script {
                id: id.to_owned(),
                reason: excerpt(&error.to_string(), EXCERPT_CHARACTERS_MAX),
            }
        })?;
        let constants = definition.constants.unwrap_or_default();
        let constants = constants.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
        let id = id.to_owned();
        Ok(Self(Arc::new(Inner { id, schema, script, script_text, configuration: values, constants })))
    }
}

fn parse(id: &str, yaml: &str) -> Result<Definition, DefinitionError> {
    if yaml.len() > DEFINITION_BYTES_MAX {
        return Err(DefinitionError::TooLarge { id: id.to_owned(), bytes: yaml.len() });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_documents: 1,
            max_inclusion_depth: 0,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_NODES_MAX,
            max_replay_stack_depth: DEPTH_MAX,
            max_alias_expansions_per_anchor: ALIASED_NODES_MAX,
        },
        // `yes` and `on` are texts, as they are to the contract's reader.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(|error| DefinitionError::Syntax {
        id: id.to_owned(),
        reason: excerpt(&error.to_string(), EXCERPT_CHARACTERS_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "taskScript: '{}'\n";

    fn load(yaml: &str) -> Result<JobType, String> {
        JobType::load("t", yaml, &|name| (name == "SET").then(|| "value".to_owned()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_least_definition_is_a_script_and_takes_no_parameters() {
        let job_type = load(SCRIPT).unwrap();
        assert_eq!(job_type.id(), "t");
        assert_eq!(job_type.parameters_schema(), &json!({"type": "null"}));
    }

    #[test]
    fn configuration_is_looked_up_in_upper_case_and_kept_in_its_own() {
        let yaml =
            format!("configurationProperties: [{{name: set, description: d}}, {{name: Set}}]\n{SCRIPT}");
        let job_type = load(&yaml).unwrap();
        assert_eq!(Value::from(job_type.0.configuration.clone()), json!({"set": "value", "Set": "value"}));
    }

    #[test]
    fn every_wrong_definition_is_refused_with_what_is_wrong() {
        let deep = format!("{SCRIPT}jobParametersSchema: {}{}", "[".repeat(40), "]".repeat(40));
        let bomb = format!(
            "{SCRIPT}jobParametersSchema:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n  b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n  \
             c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n  d: [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
        );
        let large = format!("{SCRIPT}# {}", "x".repeat(DEFINITION_BYTES_MAX));
        let schema = |text: &str| format!("{SCRIPT}jobParametersSchema: {text}");
        let cases = [
            (String::new(), "t: missing property: taskScript"),
            ("constants: {}".into(), "t: missing property: taskScript"),
            ("taskScript: [1]".into(), "t: Invalid syntax or format: "),
            ("taskScript: 'x".into(), "t: Invalid syntax or format: "),
            ("- taskScript".into(), "t: Invalid syntax or format: "),
            (format!("{SCRIPT}{SCRIPT}"), "t: Invalid syntax or format: "),
            (format!("{SCRIPT}---\n{SCRIPT}"), "t: Invalid syntax or format: "),
            (format!("{SCRIPT}taskPipe: x"), "t: Invalid syntax or format: "),
            (format!("{SCRIPT}constants: {{a: [1]}}"), "t: Invalid syntax or format: "),
            (format!("{SCRIPT}configurationProperties: [{{name: set, default: x}}]"), "t: Invalid syntax"),
            (
                format!("{SCRIPT}configurationProperties: [{{description: x}}]"),
                "t: configurationProperties item: missing property: name",
            ),
            (
                format!("{SCRIPT}configurationProperties: [{{name: unset}}]"),
                "t: configuration is not available: unset",
            ),
            (schema("{type: strng}"), "t: invalid jobParametersSchema: "),
            (schema("text"), "t: invalid jobParametersSchema: "),
            (
                schema("{$schema: 'http://example.com/s'}"),
                "the dialect \"http://example.com/s\" is not known",
            ),
            (schema("{$ref: 'http://example.com/s'}"), "t: invalid jobParametersSchema: "),
            (schema("{$ref: 'file:///etc/passwd'}"), "t: invalid jobParametersSchema: "),
            (schema("{pattern: '(?=x)'}"), "t: invalid jobParametersSchema: "),
            (schema("{pattern: '(\\w{1000}){1000}'}"), "t: invalid jobParametersSchema: "),
            ("taskScript: '{'".into(), "t: invalid taskDataScript: expected "),
            ("taskScript: '$nope'".into(), "t: invalid taskDataScript: No such variable 'nope' at line 1"),
            ("taskScript: 'test(., \"(\")'".into(), "t: invalid taskDataScript: "),
            (deep, "t: Invalid syntax or format: "),
            (bomb, "t: Invalid syntax or format: "),
            (large, "at most 65536 are allowed"),
        ];
        for (yaml, expected) in cases {
            let shown: String = yaml.chars().take(80).collect();
            let error = load(&yaml).expect_err(&shown);
            assert!(error.contains(expected), "{shown}: {error}");
            assert!(error.chars().count() < 300, "{shown}: {error}");
        }
    }

    #[test]
    fn ids_are_given_once() {
        let job_type = load(SCRIPT).unwrap();
        let error = super::super::JobTypes::new([job_type.clone(), job_type]).unwrap_err();
        assert_eq!(error.to_string(), "Duplicate job type ID: t");
    }
}
