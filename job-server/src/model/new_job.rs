//! The body of a create request: the contract's `newJob`, read as leniently as the contract's own reader and refused
//! with more exact words.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use job_core::job_type::PARAMETERS_BYTES_MAX;
use job_core::{Fingerprint, JobId, JobKey, NewJob, Prerequisite, TaskSpec};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::lenient::{Integer, Object, Text};
use super::raw_json;
use crate::error::ApiError;
use crate::query_string::excerpt;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    name: Option<Text>,
    description: Option<Text>,
    external_data: Option<Text>,
    #[serde(borrow)]
    task: Option<Object<Task<'a>>>,
    #[serde(rename = "type")]
    job_type: Option<Text>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    prerequisite_job_ids: Option<Vec<Option<Text>>>,
    #[serde(default, deserialize_with = "given")]
    delay: Option<Integer>,
    #[serde(default, deserialize_with = "given")]
    labels: Option<BTreeMap<String, Option<Text>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task<'a> {
    task_classifier: Option<Text>,
    task_api_version: Option<Integer>,
    #[serde(borrow)]
    task_data: Option<&'a RawValue>,
    task_data_encoding: Option<Text>,
    task_pipe: Option<Text>,
    target_pipe: Option<Text>,
}

/// Tells null from absent: null reaches `T`, which may refuse it.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Where the task of a new job comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The client gives it.
    Task,
    /// A job type makes it from parameters.
    Type { job_type: String, parameters: Option<Value> },
}

/// The body of a create request, read and not yet checked as a whole.
pub(crate) struct Request<'a> {
    body: Body<'a>,
    encoding: Option<Encoding>,
    parameters: Option<Value>,
}

impl<'a> Request<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let encoding = encoding(body.task.as_ref())?;
        let parameters = body.parameters.map(parameters).transpose()?.filter(|value| !value.is_null());
        Ok(Self { body, encoding, parameters })
    }

    /// Whether the task is given or has to be made first.
    pub(crate) fn origin(&self) -> Result<Origin, ApiError> {
        match (&self.body.task, &self.body.job_type) {
            (Some(_), Some(_)) => {
                Err(ApiError::bad_request("Specifying both typeId and task properties is not allowed."))
            }
            (None, Some(Text(job_type))) => {
                Ok(Origin::Type { job_type: job_type.clone(), parameters: self.parameters.clone() })
            }
            (None, None) => Err(ApiError::bad_request(
                "task has not been specified: expected an object, or a job type in type",
            )),
            (Some(_), None) => Ok(Origin::Task),
        }
    }

    /// The job as the client gives it.
    pub(crate) fn into_job(mut self, key: JobKey, correlation_id: &str) -> Result<NewJob, ApiError> {
        let fingerprint = self.fingerprint()?;
        let Some(Object(task)) = self.body.task.take() else {
            return Err(ApiError::bad_request("The task data has not been specified."));
        };
        let spec = TaskSpec {
            classifier: owned(task.task_classifier).unwrap_or_default(),
            api_version: task.task_api_version.unwrap_or_default().0.unwrap_or_default(),
            // Task data is checked after all other fields, in the contract's order.
            data: Bytes::from_static(b"?"),
            queue: owned(task.task_pipe).unwrap_or_default(),
            target: owned(task.target_pipe),
        };
        let encoding = self.encoding;
        self.complete(NewJob::new(key, spec), fingerprint, correlation_id, |job| {
            job.task.data = task_data(task.task_data, encoding)?;
            Ok(())
        })
    }

    /// `job`, which a job type made, with everything else that the client gives.
    pub(crate) fn into_typed_job(self, job: NewJob, correlation_id: &str) -> Result<NewJob, ApiError> {
        let fingerprint = self.fingerprint()?;
        self.complete(job, fingerprint, correlation_id, |_| Ok(()))
    }

    fn complete(
        self,
        mut job: NewJob,
        fingerprint: Fingerprint,
        correlation_id: &str,
        fill_data: impl FnOnce(&mut NewJob) -> Result<(), ApiError>,
    ) -> Result<NewJob, ApiError> {
        let body = self.body;
        job.name = owned(body.name);
        job.description = owned(body.description);
        job.external_data = owned(body.external_data);
        job.labels =
            body.labels.unwrap_or_default().into_iter().map(|(key, value)| (key, owned(value))).collect();
        job.correlation_id = Some(correlation_id.to_owned());
        job.fingerprint = Some(fingerprint);
        job.validate()?;
        fill_data(&mut job)?;
        job.delay = delay(body.delay)?;
        job.prerequisites = prerequisites(body.prerequisite_job_ids.unwrap_or_default())?;
        Ok(job)
    }

    /// The identity of the request: of its members that mean something. Absent members and nulls are the same.
    fn fingerprint(&self) -> Result<Fingerprint, ApiError> {
        let body = &self.body;
        let mut members = Map::new();
        put(&mut members, "name", text(body.name.as_ref()));
        put(&mut members, "description", text(body.description.as_ref()));
        put(&mut members, "externalData", text(body.external_data.as_ref()));
        put(&mut members, "type", text(body.job_type.as_ref()));
        put(&mut members, "parameters", self.parameters.clone());
        put(&mut members, "delay", body.delay.and_then(|Integer(delay)| delay).map(Value::from));
        if let Some(entries) = &body.prerequisite_job_ids {
            let entries = entries.iter().map(|entry| text(entry.as_ref()).unwrap_or_default());
            put(&mut members, "prerequisiteJobIds", Some(entries.collect()));
        }
        if let Some(labels) = &body.labels {
            let labels =
                labels.iter().map(|(key, value)| (key.clone(), text(value.as_ref()).unwrap_or_default()));
            put(&mut members, "labels", Some(Value::Object(labels.collect())));
        }
        if let Some(Object(task)) = &body.task {
            put(&mut members, "task", Some(Value::Object(canonical_task(task)?)));
        }
        Ok(Fingerprint::of_request(&members))
    }
}

fn owned(text: Option<Text>) -> Option<String> {
    text.map(|Text(text)| text)
}

fn parameters(raw: &RawValue) -> Result<Value, ApiError> {
    let json = raw.get();
    if json.len() > PARAMETERS_BYTES_MAX {
        return Err(ApiError::bad_request(format!(
            "parameters are {} bytes of JSON: at most {PARAMETERS_BYTES_MAX} are allowed",
            json.len()
        )));
    }
    if raw_json::compact(json).is_none() {
        return Err(ApiError::bad_request(format!(
            "parameters are nested too deeply: at most {} levels are allowed",
            raw_json::DEPTH_MAX
        )));
    }
    serde_json::from_str(json).map_err(|error| {
        ApiError::bad_request(format!("Unable to process JSON: parameters: {error} of its value"))
    })
}

fn parse(body: &[u8]) -> Result<Body<'_>, ApiError> {
    // Some clients begin a text in UTF-8 with a byte order mark, and the contract's reader takes no notice.
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::bad_request("Unable to process JSON: the body is empty, expected an object"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed: Object<Body<'_>> = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = known_path(&error.path().to_string());
        ApiError::bad_request(format!("Unable to process JSON: {}{}", excerpt(&path), error.inner()))
    })?;
    reader.end().map_err(|error| ApiError::bad_request(format!("Unable to process JSON: {error}")))?;
    Ok(parsed.0)
}

/// The place of an error with a colon; nothing for the whole body. A member whose name could not be read is a `?` at the end.
fn known_path(path: &str) -> String {
    let path = path.trim_end_matches('?').trim_end_matches('.');
    if path.is_empty() { String::new() } else { format!("{path}: ") }
}

/// What the text of `taskData` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Base64,
}

fn encoding(task: Option<&Object<Task<'_>>>) -> Result<Option<Encoding>, ApiError> {
    let given = task.and_then(|Object(task)| task.task_data_encoding.as_ref());
    match given.map(|Text(text)| text.as_str()) {
        None => Ok(None),
        Some("utf8") => Ok(Some(Encoding::Utf8)),
        Some("base64") => Ok(Some(Encoding::Base64)),
        Some(other) => Err(ApiError::bad_request(format!(
            "task.taskDataEncoding is {:?}: expected utf8 or base64",
            excerpt(other)
        ))),
    }
}

fn task_data(data: Option<&RawValue>, encoding: Option<Encoding>) -> Result<Bytes, ApiError> {
    let Some(raw) = data.map(RawValue::get) else {
        return Err(ApiError::bad_request("The task data has not been specified."));
    };
    match raw.as_bytes().first() {
        Some(b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|error| unreadable_data(&error))?;
            Ok(match encoding {
                Some(Encoding::Base64) => lenient_base64(&text),
                Some(Encoding::Utf8) | None => text.into(),
            })
        }
        Some(b'{') if encoding.is_some() => Err(ApiError::bad_request(
            "An encoding type has been found in the task along with taskDataObject. Remove taskDataEncoding and try again",
        )),
        Some(b'{') => raw_json::compact(raw).map(Bytes::from).ok_or_else(too_deep),
        _ => Err(ApiError::bad_request(
            "The taskData is null or empty, please ensure taskData is populated and of a suitable datatype",
        )),
    }
}

fn too_deep() -> ApiError {
    ApiError::bad_request(format!(
        "task.taskData is nested too deeply: at most {} levels are allowed",
        raw_json::DEPTH_MAX
    ))
}

fn unreadable_data(error: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!("Unable to process JSON: task.taskData: {error} of its value"))
}

/// As the contract's decoder: both alphabets, other characters are passed over, the first padding ends the data.
fn lenient_base64(text: &str) -> Bytes {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::RequireNone),
    );
    let mut digits: Vec<u8> = text
        .bytes()
        .take_while(|byte| *byte != b'=')
        .filter_map(|byte| match byte {
            b'-' => Some(b'+'),
            b'_' => Some(b'/'),
            b'+' | b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => Some(byte),
            _ => None,
        })
        .collect();
    if digits.len() % 4 == 1 {
        // A single digit is not enough for a byte.
        digits.pop();
    }
    LENIENT.decode(digits).expect("only digits of the alphabet are left, and no lone one").into()
}

fn delay(delay: Option<Integer>) -> Result<Duration, ApiError> {
    match delay {
        None => Ok(Duration::ZERO),
        Some(Integer(Some(seconds))) => u64::try_from(seconds).map(Duration::from_secs).map_err(|_| {
            ApiError::bad_request(format!("delay is {seconds}: expected 0 to 2147483647 seconds"))
        }),
        Some(Integer(None)) => Err(ApiError::bad_request(
            "delay is null or an empty text: expected 0 to 2147483647 seconds, or no such member",
        )),
    }
}

/// `id[,option...]`; of the options only `pc` ("pre-created") means something. Blank entries are dropped.
fn prerequisites(entries: Vec<Option<Text>>) -> Result<Vec<Prerequisite>, ApiError> {
    let mut prerequisites = Vec::with_capacity(entries.len().min(1_000));
    for (index, entry) in entries.into_iter().enumerate() {
        let Some(Text(entry)) = entry.filter(|Text(text)| !text.trim().is_empty()) else { continue };
        let mut parts = entry.split(',');
        let job = JobId::new(parts.next().unwrap_or_default())
            .map_err(|error| ApiError::bad_request(format!("prerequisiteJobIds[{index}]: {error}")))?;
        prerequisites.push(Prerequisite { job, pre_created: parts.any(|option| option == "pc") });
    }
    Ok(prerequisites)
}

fn canonical_task(task: &Task<'_>) -> Result<Map<String, Value>, ApiError> {
    let mut members = Map::new();
    put(&mut members, "taskClassifier", text(task.task_classifier.as_ref()));
    let version = task.task_api_version.and_then(|Integer(version)| version);
    put(&mut members, "taskApiVersion", version.map(Value::from));
    let encoding = task.task_data_encoding.as_ref().filter(|Text(encoding)| encoding != "utf8");
    put(&mut members, "taskDataEncoding", text(encoding));
    put(&mut members, "taskPipe", text(task.task_pipe.as_ref()));
    put(&mut members, "targetPipe", text(task.target_pipe.as_ref()));
    if let Some(raw) = task.task_data {
        // The depth is looked at first, because the reader's own limit has a less helpful message.
        raw_json::compact(raw.get()).ok_or_else(too_deep)?;
        let data = serde_json::from_str(raw.get()).map_err(|error| unreadable_data(&error))?;
        put(&mut members, "taskData", Some(data));
    }
    Ok(members)
}

fn put(members: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value);
    }
}

fn text(text: Option<&Text>) -> Option<Value> {
    text.map(|Text(text)| Value::from(text.as_str()))
}
