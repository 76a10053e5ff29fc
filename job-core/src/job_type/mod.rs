//! Job types: named templates that turn parameters into the first task of a job.
//!
//! A definition is YAML: a schema of the parameters, a script in JSLT that builds the task, and values the script may
//! use. Reading one is pure; where the text comes from and where configuration is looked up is the caller's business.

mod definition;
mod schema;
mod steps;
mod task;

use std::collections::BTreeMap;
use std::sync::Arc;

use jslt::Script;
use serde_json::{Map, Value};

pub use definition::{DEFINITION_BYTES_MAX, DefinitionError};

use schema::Schema;

/// Largest parameters of a job, as the bytes of their JSON.
pub const PARAMETERS_BYTES_MAX: usize = 256 * 1024;

/// One job type, ready to use. Cheap to clone.
///
/// ```
/// use job_core::JobKey;
/// use job_core::job_type::{JobType, Surroundings};
/// use serde_json::json;
///
/// let definition = r#"
/// jobParametersSchema:
///   type: object
///   properties: {folder: {type: string}}
///   required: [folder]
/// taskScript: |
///   {
///     "taskClassifier": "Ingest", "taskApiVersion": 1, "taskPipe": "ingest-in",
///     "taskData": {"folder": .parameters.folder, "job": .jobId}
///   }
/// "#;
/// let ingest = JobType::load("ingest", definition, &|_| None)?;
/// let key = JobKey::parse("acme", "j1")?;
/// let task = ingest.task(&key, &json!({"folder": "in"}), &Surroundings::fixed()).unwrap();
/// assert_eq!(&task.data[..], br#"{"folder":"in","job":"j1"}"#);
/// let error = ingest.task(&key, &json!({}), &Surroundings::fixed()).unwrap_err();
/// assert_eq!(error.message(), "Invalid job parameters:\n$: required property 'folder' not found");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct JobType(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    schema: Schema,
    script: Script,
    /// Says what stands where the script fails.
    script_text: String,
    configuration: Map<String, Value>,
    constants: Map<String, Value>,
}

impl JobType {
    /// The name by which clients ask for it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The JSON Schema that parameters have to pass.
    #[must_use]
    pub fn parameters_schema(&self) -> &Value {
        self.0.schema.document()
    }
}

/// What a script can see of the world: the time, and dice.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub now: &'a dyn Fn() -> i64,
    /// 64 random bits.
    pub random: &'a dyn Fn() -> u64,
}

impl Surroundings<'_> {
    /// The same at every look, for tests and for checking definitions.
    #[must_use]
    pub fn fixed() -> Self {
        Self { now: &|| 0, random: &|| 0 }
    }
}

impl std::fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// The job types of a service, by id. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct JobTypes(Arc<BTreeMap<String, JobType>>);

impl JobTypes {
    /// Of these.
    ///
    /// # Errors
    /// When two have the same id.
    pub fn new(types: impl IntoIterator<Item = JobType>) -> Result<Self, DefinitionError> {
        let mut by_id = BTreeMap::new();
        for job_type in types {
            if let Some(first) = by_id.insert(job_type.id().to_owned(), job_type) {
                return Err(DefinitionError::Duplicate { id: first.id().to_owned() });
            }
        }
        Ok(Self(Arc::new(by_id)))
    }

    /// The type of this id; ids are told apart by case.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&JobType> {
        self.0.get(id)
    }

    /// All of them, in id order.
    pub fn iter(&self) -> impl Iterator<Item = &JobType> {
        self.0.values()
    }
}
