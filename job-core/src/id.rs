//! Identifiers of partitions, jobs and subtasks, and the limits the contract puts on them.
//!
//! The rules come from the REST contract (ten forbidden characters, 40 and 48 characters) and from the message format
//! (`[partition:]job[.n[.n...]][*]`).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use smallvec::SmallVec;

/// Longest partition id, in UTF-16 code units.
pub const PARTITION_ID_LENGTH_MAX: usize = 40;
/// Longest job id, in characters.
pub const JOB_ID_LENGTH_MAX: usize = 48;
/// Deepest nesting of subtasks below a job.
pub const TASK_DEPTH_MAX: usize = 32;
/// Largest number of a subtask among its siblings.
pub const TASK_NUMBER_MAX: u32 = i32::MAX.unsigned_abs();
/// The partition of a task id that names none.
pub const DEFAULT_PARTITION: &str = "default";

const FORBIDDEN: [char; 10] = ['.', ',', ':', ';', '*', '?', '!', '|', '(', ')'];

/// Why a text is not an identifier. The first six texts are the contract's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// No partition id.
    #[error("The partition ID has not been specified.")]
    PartitionMissing,
    /// The partition id is too long.
    #[error("The partition ID is longer than 40 characters.")]
    PartitionTooLong,
    /// The partition id has a forbidden character.
    #[error("The partition ID contains one or more invalid characters.")]
    PartitionCharacters,
    /// No job id.
    #[error("The job identifier has not been specified.")]
    JobMissing,
    /// The job id is too long.
    #[error("The job identifier is longer than 48 characters.")]
    JobTooLong,
    /// The job id has a forbidden character.
    #[error("The job identifier contains one or more invalid characters.")]
    JobCharacters,
    /// A part of a task id is not a subtask number.
    #[error(
        "\"{0}\" is not a subtask number: expected 1 to 2147483647, with a * behind it for the last sibling"
    )]
    Number(String),
    /// The task id is nested too deeply.
    #[error("the task id has more than 32 levels of subtasks")]
    TooDeep,
}

impl From<IdError> for crate::Error {
    fn from(error: IdError) -> Self {
        Self::invalid(error.to_string())
    }
}

fn has_forbidden(text: &str) -> bool {
    // NUL is not in the contract's list, but no text column of PostgreSQL can hold it.
    text.contains(FORBIDDEN) || text.contains('\0')
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }
    };
}

text_id! {
    /// The tenant-like scope that owns jobs; nothing crosses it.
    ///
    /// ```
    /// use job_core::PartitionId;
    /// assert_eq!(PartitionId::new("acme")?.as_str(), "acme");
    /// assert!(PartitionId::new("a.b").is_err());
    /// # Ok::<(), job_core::IdError>(())
    /// ```
    PartitionId
}

text_id! {
    /// The name of a job, chosen by its creator and unique in its partition.
    ///
    /// ```
    /// use job_core::JobId;
    /// assert_eq!(JobId::new("nightly index 7")?.as_str(), "nightly index 7");
    /// assert_eq!(JobId::new("a*").unwrap_err().to_string(), "The job identifier contains one or more invalid characters.");
    /// # Ok::<(), job_core::IdError>(())
    /// ```
    JobId
}

impl PartitionId {
    /// Checks `text` against the contract's rules.
    ///
    /// # Errors
    /// The [`IdError`] that names the rule.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(IdError::PartitionMissing);
        }
        if text.encode_utf16().count() > PARTITION_ID_LENGTH_MAX {
            return Err(IdError::PartitionTooLong);
        }
        if has_forbidden(text) {
            return Err(IdError::PartitionCharacters);
        }
        Ok(Self(text.into()))
    }
}

impl JobId {
    /// Checks `text` against the contract's rules.
    ///
    /// # Errors
    /// The [`IdError`] that names the rule.
    pub fn new(text: impl AsRef<str>) -> Result<Self, IdError> {
        let text = text.as_ref();
        if text.is_empty() {
            return Err(IdError::JobMissing);
        }
        if has_forbidden(text) {
            return Err(IdError::JobCharacters);
        }
        if text.chars().count() > JOB_ID_LENGTH_MAX {
            return Err(IdError::JobTooLong);
        }
        Ok(Self(text.into()))
    }
}

/// A job in its partition: what every store is keyed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey {
    /// The partition that owns the job.
    pub partition: PartitionId,
    /// The job's id in that partition.
    pub job: JobId,
}

impl JobKey {
    /// Joins the two ids.
    #[must_use]
    pub fn new(partition: PartitionId, job: JobId) -> Self {
        Self { partition, job }
    }

    /// Checks both texts.
    ///
    /// # Errors
    /// The [`IdError`] of the first text that breaks a rule; the partition is checked first.
    pub fn parse(partition: impl AsRef<str>, job: impl AsRef<str>) -> Result<Self, IdError> {
        Ok(Self { partition: PartitionId::new(partition)?, job: JobId::new(job)? })
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.job)
    }
}

/// Where a subtask sits below its job: the numbers from the top down. The empty path is the job itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TaskPath(SmallVec<[u32; 6]>);

impl TaskPath {
    /// The job itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks `numbers` against the limits.
    ///
    /// # Errors
    /// [`IdError::TooDeep`] or [`IdError::Number`].
    pub fn new(numbers: &[u32]) -> Result<Self, IdError> {
        if numbers.len() > TASK_DEPTH_MAX {
            return Err(IdError::TooDeep);
        }
        if let Some(bad) = numbers.iter().find(|number| !(1..=TASK_NUMBER_MAX).contains(*number)) {
            return Err(IdError::Number(bad.to_string()));
        }
        Ok(Self(SmallVec::from_slice(numbers)))
    }

    /// The numbers from the top down.
    #[must_use]
    pub fn numbers(&self) -> &[u32] {
        &self.0
    }

    /// How many levels below the job.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// The parent's path and the number among its siblings; `None` for the job itself.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, u32)> {
        let (number, parent) = self.0.split_last()?;
        Some((Self(SmallVec::from_slice(parent)), *number))
    }

    /// Whether this path is `ancestor` or lies below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        self.0.starts_with(&ancestor.0)
    }

    /// The child with this number.
    ///
    /// # Errors
    /// [`IdError::TooDeep`] or [`IdError::Number`].
    pub fn child(&self, number: u32) -> Result<Self, IdError> {
        let mut numbers = self.0.clone();
        numbers.push(number);
        Self::new(&numbers)
    }
}

impl fmt::Debug for TaskPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl fmt::Display for TaskPath {
    /// `.1.7`; empty for the job itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|number| write!(f, ".{number}"))
    }
}

impl FromStr for TaskPath {
    type Err = IdError;

    /// Reads `1.7` or `.1.7`; the empty text is the job itself.
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse::<TaskId>().map(|task| task.path)
    }
}

/// A subtask's path together with the `*` marks of its wire form.
///
/// A trailing mark says that this is the last sibling, and so how many there are. A mark inside the path means nothing,
/// but is kept, because workers derive the ids of their subtasks from the text they were given.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TaskId {
    path: TaskPath,
    /// Bit `i` is set when the number at level `i` carries a mark; [`TASK_DEPTH_MAX`] levels fit exactly.
    marks: u32,
}

impl TaskId {
    /// The job itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A path without marks.
    #[must_use]
    pub fn new(path: TaskPath) -> Self {
        Self { path, marks: 0 }
    }

    /// The numbers without the marks.
    #[must_use]
    pub fn path(&self) -> &TaskPath {
        &self.path
    }

    /// Whether the last number carries the mark of the last sibling.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self.path.depth() {
            0 => false,
            depth => self.marks & (1 << (depth - 1)) != 0,
        }
    }

    /// The subtask `number` of this task, marked as the last of its siblings when `is_final`.
    ///
    /// # Errors
    /// [`IdError::TooDeep`] or [`IdError::Number`].
    pub fn child(&self, number: u32, is_final: bool) -> Result<Self, IdError> {
        let path = self.path.child(number)?;
        let mark = if is_final { 1 << (path.depth() - 1) } else { 0 };
        Ok(Self { path, marks: self.marks | mark })
    }
}

impl fmt::Display for TaskId {
    /// `.1.7*`; empty for the job itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, number) in self.path.0.iter().enumerate() {
            let mark = if self.marks & (1 << level) != 0 { "*" } else { "" };
            write!(f, ".{number}{mark}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl FromStr for TaskId {
    type Err = IdError;

    /// Reads `1.7*` or `.1.7*`; the empty text is the job itself.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let text = text.strip_prefix('.').unwrap_or(text);
        let mut task = Self::root();
        if text.is_empty() {
            return Ok(task);
        }
        for part in text.split('.') {
            let (digits, is_final) = match part.strip_suffix('*') {
                Some(digits) => (digits, true),
                None => (part, false),
            };
            let number = parse_number(digits).ok_or_else(|| IdError::Number(excerpt(part)))?;
            if task.path.depth() == TASK_DEPTH_MAX {
                return Err(IdError::TooDeep);
            }
            if is_final {
                task.marks |= 1 << task.path.depth();
            }
            task.path.0.push(number);
        }
        Ok(task)
    }
}

/// Accepts only the form that [`fmt::Display`] writes, so that one subtask has one text.
fn parse_number(digits: &str) -> Option<u32> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|number| canonical && (1..=TASK_NUMBER_MAX).contains(number))
}

/// Enough of a wrong text to recognise it, never enough to flood a log or an answer.
fn excerpt(text: &str) -> String {
    text.chars().take(40).collect()
}

/// The identifier that travels in messages: `partition:job.1.7*`.
///
/// ```
/// use job_core::JobTaskId;
/// let id: JobTaskId = "acme:index.3*.2".parse()?;
/// assert_eq!(id.job.partition.as_str(), "acme");
/// assert_eq!(id.task.path().numbers(), [3, 2]);
/// assert!(!id.task.is_final());
/// assert_eq!(id.to_string(), "acme:index.3*.2");
/// assert_eq!("index".parse::<JobTaskId>()?.to_string(), "default:index");
/// # Ok::<(), job_core::IdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobTaskId {
    /// The job the task belongs to.
    pub job: JobKey,
    /// The task within the job.
    pub task: TaskId,
}

impl JobTaskId {
    /// The id of the job's own, first task.
    #[must_use]
    pub fn of_job(job: JobKey) -> Self {
        Self { job, task: TaskId::root() }
    }
}

impl fmt::Display for JobTaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.job, self.task)
    }
}

impl FromStr for JobTaskId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (partition, id) = text.split_once(':').unwrap_or((DEFAULT_PARTITION, text));
        let (job, task) = match id.split_once('.') {
            // A task id alone may begin with a dot; here that would be a second one.
            Some((job, task)) if !task.is_empty() && !task.starts_with('.') => (job, task.parse()?),
            Some(_) => return Err(IdError::Number(String::new())),
            None => (id, TaskId::root()),
        };
        Ok(Self { job: JobKey::parse(partition, job)?, task })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_the_limits_of_the_contract() {
        for forbidden in FORBIDDEN {
            assert_eq!(JobId::new(format!("a{forbidden}")).unwrap_err(), IdError::JobCharacters);
            assert_eq!(PartitionId::new(format!("a{forbidden}")).unwrap_err(), IdError::PartitionCharacters);
        }
        assert!(JobId::new("é".repeat(48)).is_ok());
        assert_eq!(JobId::new("a".repeat(49)).unwrap_err(), IdError::JobTooLong);
        assert!(PartitionId::new("p".repeat(40)).is_ok());
        assert_eq!(PartitionId::new("😀".repeat(21)).unwrap_err(), IdError::PartitionTooLong);
        assert_eq!(PartitionId::new("").unwrap_err(), IdError::PartitionMissing);
        assert!(JobId::new("sp ace {x} /").is_ok());
        assert!(JobId::new("a\0b").is_err());
    }

    #[test]
    fn task_ids_read_back_what_they_write() {
        for text in ["p:j", "p:j.1", "p:j.1.2*", "p:j.3*.1", "p:j.2147483647*", "default:j.1*.2*.3*"] {
            assert_eq!(text.parse::<JobTaskId>().unwrap().to_string(), text);
        }
        let deepest = format!("p:j{}", ".1".repeat(32));
        assert_eq!(deepest.parse::<JobTaskId>().unwrap().task.path().depth(), 32);
    }

    #[test]
    fn malformed_task_ids_say_which_part_is_wrong() {
        for (text, expected) in [
            ("p:j.", IdError::Number(String::new())),
            ("p:j..1", IdError::Number(String::new())),
            ("p:j.0", IdError::Number("0".into())),
            ("p:j.01", IdError::Number("01".into())),
            ("p:j.+1", IdError::Number("+1".into())),
            ("p:j.1**", IdError::Number("1**".into())),
            ("p:j.1..2", IdError::Number(String::new())),
            ("p:j.2147483648", IdError::Number("2147483648".into())),
            ("p:j.x", IdError::Number("x".into())),
            (":j.1", IdError::PartitionMissing),
            ("p:.1", IdError::JobMissing),
            ("p:j*", IdError::JobCharacters),
            ("p:q:j", IdError::JobCharacters),
            ("", IdError::JobMissing),
        ] {
            assert_eq!(text.parse::<JobTaskId>().unwrap_err(), expected, "{text}");
        }
        let too_deep = format!("p:j{}", ".1".repeat(33));
        assert_eq!(too_deep.parse::<JobTaskId>().unwrap_err(), IdError::TooDeep);
    }

    #[test]
    fn only_a_trailing_mark_makes_a_task_final() {
        let id: TaskId = ".3*.1".parse().unwrap();
        assert!(!id.is_final());
        assert_eq!(id.child(2, true).unwrap().to_string(), ".3*.1.2*");
        assert!(".3*".parse::<TaskId>().unwrap().is_final());
        assert!(!TaskId::root().is_final());
    }
}
