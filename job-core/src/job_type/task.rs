//! Building the task of a job: parameters against the schema, the script, and what it made against the contract.

use std::sync::OnceLock;

use jslt::{Context, EvalError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::schema::Schema;
use super::{Inner, JobType, Surroundings};
use crate::error::{Error, ErrorKind};
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
    /// [`Invalid`](ErrorKind::Invalid) when the parameters do not pass the schema, when the script refuses them by
    /// `error(...)`, or when they make it reach a bound; [`Internal`](ErrorKind::Internal) when the script is wrong.
    pub fn task(
        &self,
        job: &JobKey,
        parameters: &Value,
        surroundings: &Surroundings<'_>,
    ) -> Result<TaskSpec, Error> {
        let Inner { id, schema, script, configuration, constants } = &*self.0;
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
        let output = script.evaluate(&input, &context).map_err(|error| match error {
            EvalError::Raised { .. } | EvalError::Limit { .. } => {
                Error::invalid(format!("{id}: {}", excerpt(&error.to_string(), EXCERPT_CHARACTERS_MAX)))
            }
            // The place and the reason are for the operator, who can mend the script.
            _ => Error::new(ErrorKind::Internal, format!("{id}: taskScript execution failed"))
                .with_operation("job_type::task")
                .with_source(error),
        })?;
        let errors = output_schema().errors(&output);
        if !errors.is_empty() {
            let message = format!("{id}: Invalid taskScript:\n{}", errors.join("\n"));
            return Err(Error::new(ErrorKind::Internal, message).with_operation("job_type::task"));
        }
        let unreadable = |error: serde_json::Error| {
            Error::new(ErrorKind::Internal, format!("{id}: Invalid taskScript")).with_source(error)
        };
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

/// The message of `error(...)` may hold parameters.
#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_script_can_refuse_and_a_wrong_one_is_the_operators() {
        let refused = run("error(\"no folder\")", &Value::Null).unwrap_err();
        assert_eq!((refused.kind(), refused.message()), (ErrorKind::Invalid, "t: error: no folder"));
        let long = run("error(.parameters)", &json!("x".repeat(10_000))).unwrap_err();
        assert!(long.message().chars().count() < 210);
        let endless = run("def f(x) f($x + 1) f(1)", &Value::Null).unwrap_err();
        assert_eq!(endless.message(), "t: the evaluation recurses too deeply");
        let wrong = run("1 + (1 < true)", &Value::Null).unwrap_err();
        assert_eq!((wrong.kind(), wrong.message()), (ErrorKind::Internal, "t: taskScript execution failed"));
        assert!(std::error::Error::source(&wrong).unwrap().to_string().contains("line 1"));
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
            assert_eq!(error.kind(), ErrorKind::Internal, "{script}");
            assert!(error.message().starts_with("t: Invalid taskScript:\n"), "{}", error.message());
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }
}
