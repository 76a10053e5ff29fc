//! Building the task of a job: parameters against the schema, the script, and what it made against the contract.

use std::sync::OnceLock;

use jslt::{Context, EvalError, Position};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::schema::Schema;
use super::{Inner, JobType, Surroundings};
use crate::error::Error;
use crate::excerpt::excerpt;
use crate::id::JobKey;
use crate::job::TaskSpec;

/// How much of an error's text is repeated.
const EXCERPT_CHARACTERS_MAX: usize = 200;

/// What a script has to make.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    task_classifier: String,
    task_api_version: i32,
    task_data: Value,
    task_pipe: String,
    target_pipe: Option<String>,
}

fn output_schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let document = json!({
            "type": "object",
            "properties": {
                "taskClassifier": {"type": "string", "minLength": 1},
                "taskApiVersion": {"type": "integer", "minimum": 1, "maximum": i32::MAX},
                "taskData": {"type": "object"},
                "taskPipe": {"type": "string", "minLength": 1},
                "targetPipe": {"type": ["string", "null"], "minLength": 1},
            },
            "required": ["taskClassifier", "taskApiVersion", "taskData", "taskPipe"],
            "additionalProperties": false,
        });
        Schema::compile(document).expect("the schema above is one")
    })
}

impl JobType {
    /// The task of a job of this type. `parameters` is null when the client gave none.
    ///
    /// Takes microseconds for an ordinary script and, whatever the script does, about a second at most: do not call it
    /// on a thread that others wait for.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) whenever these parameters make no task: they do not pass the schema, the script
    /// refuses them by `error(...)`, reaches a bound, fails, or makes something else than a task.
    pub fn task(
        &self,
        job: &JobKey,
        parameters: &Value,
        surroundings: &Surroundings<'_>,
    ) -> Result<TaskSpec, Error> {
        let Inner { id, schema, script, script_text, configuration, constants } = &*self.0;
        let errors = schema.errors(parameters);
        if !errors.is_empty() {
            return Err(Error::invalid(format!("Invalid job parameters:\n{}", errors.join("\n"))));
        }
        let input = json!({
            "configuration": configuration,
            "constants": constants,
            "partitionId": job.partition.as_str(),
            "jobId": job.job.as_str(),
            "parameters": parameters,
        });
        let context = Context::default().with_clock(surroundings.now).with_random(surroundings.random);
        let output = script.evaluate(&input, &context).map_err(|error| match &error {
            EvalError::Runtime { message, position } => {
                // Nobody but the operator can mend a script. What it met may be anything, and stays out of the log.
                tracing::warn!(job_type = id, %position, "a taskScript failed on the parameters of a job");
                let failed = Failed { id, message: shown(message, configuration), position: *position };
                failed.error(script_text)
            }
            _ => Error::invalid(format!("{id}: {}", excerpt(&error.to_string(), EXCERPT_CHARACTERS_MAX))),
        })?;
        let errors = output_schema().errors(&output);
        if !errors.is_empty() {
            tracing::warn!(job_type = id, "a taskScript made something else than a task");
            return Err(Error::invalid(format!("{id}: Invalid taskScript:\n{}", errors.join("\n"))));
        }
        let unreadable =
            |error: serde_json::Error| Error::invalid(format!("{id}: Invalid taskScript:\n{error}"));
        let output: Output = serde_json::from_value(output).map_err(unreadable)?;
        Ok(TaskSpec {
            classifier: output.task_classifier,
            api_version: output.task_api_version,
            data: serde_json::to_vec(&output.task_data).map_err(unreadable)?.into(),
            queue: output.task_pipe,
            target: output.target_pipe,
        })
    }
}

/// An operation of a script that met values it cannot work on.
struct Failed<'a> {
    id: &'a str,
    message: String,
    position: Position,
}

impl Failed<'_> {
    /// For whoever sent the parameters, and for the operator whom they may ask: what, where, and which parameters are read
    /// there.
    fn error(&self, script: &str) -> Error {
        let Self { id, message, position } = self;
        let line = script.lines().nth(position.line as usize - 1).unwrap_or_default();
        let read = parameters_in(line);
        let read = if read.is_empty() { read } else { format!(", which reads {read}") };
        Error::invalid(format!("{id}: taskScript execution failed: {message} at {position}{read}"))
    }
}

/// Enough of a value of the configuration to recognise it by.
const RECOGNISED_CHARACTERS: usize = 8;
/// What is shorter is no secret, and found in anything.
const SECRET_CHARACTERS_MIN: usize = 4;

/// The message, unless it repeats a value of the operator's configuration.
fn shown(message: &str, configuration: &Map<String, Value>) -> String {
    let mut values = configuration.values().filter_map(Value::as_str);
    let repeats = values.any(|value| {
        let begin: String = value.chars().take(RECOGNISED_CHARACTERS).collect();
        begin.chars().count() >= SECRET_CHARACTERS_MIN && message.contains(&begin)
    });
    if repeats {
        "it cannot work with what it met".to_owned()
    } else {
        excerpt(message, EXCERPT_CHARACTERS_MAX)
    }
}

/// The parameters that a line of a script names: `.parameters.a.b` and so on.
fn parameters_in(line: &str) -> String {
    let is_of_path = |character: char| character.is_alphanumeric() || "._-".contains(character);
    let mut paths: Vec<&str> = Vec::new();
    for (at, _) in line.match_indices(".parameters.") {
        let rest = &line[at + 1..];
        let path = &rest[..rest.find(|character| !is_of_path(character)).unwrap_or(rest.len())];
        let path = path.trim_end_matches(['.', '-']);
        if path != "parameters" && !paths.contains(&path) {
            paths.push(path);
        }
    }
    excerpt(&paths.join(" and "), EXCERPT_CHARACTERS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn run(script: &str, parameters: &Value) -> Result<TaskSpec, Error> {
        let yaml =
            json!({"taskScript": script, "jobParametersSchema": {}, "constants": {"c": "k"}}).to_string();
        let job_type = JobType::load("t", &yaml, &|_| None).unwrap();
        job_type.task(&JobKey::parse("p", "j").unwrap(), parameters, &Surroundings::fixed())
    }

    fn with_data(data: &str) -> String {
        format!(r#"{{"taskClassifier": "C", "taskApiVersion": 2, "taskPipe": "q", "taskData": {data}}}"#)
    }

    #[test]
    fn the_script_sees_everything_and_null_and_empty_members_survive() {
        let script = with_data(r#"{"all": ., "null": null, "empty": {}, "none": []}"#);
        let task = run(&script, &json!({"a": null, "b": {}})).unwrap();
        let data: Value = serde_json::from_slice(&task.data).unwrap();
        assert_eq!(
            data,
            json!({
                "all": {
                    "configuration": {}, "constants": {"c": "k"}, "partitionId": "p", "jobId": "j",
                    "parameters": {"a": null, "b": {}},
                },
                "null": null, "empty": {}, "none": [],
            })
        );
        assert_eq!((task.classifier.as_str(), task.api_version, task.queue.as_str()), ("C", 2, "q"));
        assert_eq!(task.target, None);
    }

    #[test]
    fn absent_parameters_are_null() {
        let task = run(&with_data("{\"p\": .parameters}"), &Value::Null).unwrap();
        assert_eq!(&task.data[..], br#"{"p":null}"#);
    }

    #[test]
    fn parameters_that_a_script_refuses_or_fails_on_are_refused() {
        let refused = run("error(\"no folder\")", &Value::Null).unwrap_err();
        assert_eq!((refused.kind(), refused.message()), (ErrorKind::Invalid, "t: error: no folder"));
        let long = run("error(.parameters)", &json!("x".repeat(10_000))).unwrap_err();
        assert!(long.message().chars().count() < 210);
        let endless = run("def f(x) f($x + 1) f(1)", &Value::Null).unwrap_err();
        assert_eq!(endless.message(), "t: the evaluation recurses too deeply");
        let wrong = run("1 + (1 < true)", &Value::Null).unwrap_err();
        assert_eq!(
            (wrong.kind(), wrong.message()),
            (
                ErrorKind::Invalid,
                "t: taskScript execution failed: Can't compare 1 and true at line 1, column 8"
            )
        );
        let script = "let a = .parameters.deep.a-b + .parameters.deep.a-b\n\n1 + (.parameters.size < .parameters.\"x\")";
        let wrong = run(script, &json!({"size": 7, "x": "y".repeat(1_000)})).unwrap_err();
        assert!(wrong.message().ends_with(" at line 3, column 23, which reads parameters.size"), "{wrong}");
        assert!(wrong.message().chars().count() < 300, "{wrong}");
    }

    #[test]
    fn values_of_the_configuration_are_not_told() {
        let yaml = json!({
            "taskScript": "1 + (.configuration.secret < true)",
            "configurationProperties": [{"name": "secret"}],
        });
        let job_type = JobType::load("t", &yaml.to_string(), &|_| Some("hunter2hunter2".into())).unwrap();
        let key = JobKey::parse("p", "j").unwrap();
        let error = job_type.task(&key, &Value::Null, &Surroundings::fixed()).unwrap_err();
        assert_eq!(
            error.message(),
            "t: taskScript execution failed: it cannot work with what it met at line 1, column 28"
        );
    }

    #[test]
    fn what_the_script_makes_is_checked() {
        for (script, expected) in [
            ("1".to_owned(), "$: integer found, object expected"),
            ("{}".to_owned(), "$: required property 'taskClassifier' not found"),
            (with_data("1"), "$.taskData: integer found, object expected"),
            (
                with_data("{}, \"taskDataEncoding\": \"utf8\""),
                "$: property 'taskDataEncoding' is not defined in the schema",
            ),
            (with_data("{}, \"targetPipe\": \"\""), "$.targetPipe: must be at least 1 characters long"),
            (with_data("{}").replace(": 2", ": 0"), "$.taskApiVersion: must have a minimum value of 1"),
        ] {
            let error = run(&script, &Value::Null).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{script}");
            assert!(error.message().starts_with("t: Invalid taskScript:\n"), "{}", error.message());
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }
}
