//! Which jobs a client means, and in which order: values that every store understands, and their meaning in memory.

mod filter;
mod order;
mod rsql;

use std::str::FromStr;

pub use filter::{Comparison, Filter, PercentageTest, StatusTest, TextKey, TextTest};
pub use order::{Cursor, Sort, SortDirection, SortField, SortValue, text_order_key};
pub use rsql::{FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, FILTER_VALUES_MAX, parse_filter};

use crate::error::Error;
use crate::id::PartitionId;
use crate::job::Job;
use crate::lifecycle::JobStatus;

/// Page size when the client names none.
pub const PAGE_SIZE_DEFAULT: u32 = 25;
/// Largest page a client may ask for.
pub const PAGE_SIZE_MAX: u32 = 10_000;

/// A named group of statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StatusType {
    /// Every status.
    #[default]
    All,
    /// Not Completed.
    NotCompleted,
    /// Completed.
    Completed,
    /// Completed, Cancelled or Failed.
    Inactive,
    /// Active, Paused or Waiting.
    NotFinished,
}

impl StatusType {
    /// Whether a job of this status belongs to the group.
    #[must_use]
    pub const fn includes(self, status: JobStatus) -> bool {
        match self {
            Self::All => true,
            Self::NotCompleted => !matches!(status, JobStatus::Completed),
            Self::Completed => matches!(status, JobStatus::Completed),
            Self::Inactive => status.is_finished(),
            Self::NotFinished => !status.is_finished(),
        }
    }
}

impl FromStr for StatusType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "All" => Self::All,
            "NotCompleted" => Self::NotCompleted,
            "Completed" => Self::Completed,
            "Inactive" => Self::Inactive,
            "NotFinished" => Self::NotFinished,
            _ => {
                let shown: String = text.chars().take(40).collect();
                return Err(Error::invalid(format!(
                    "statusType is {shown:?}: expected one of All, NotCompleted, Completed, Inactive, NotFinished"
                )));
            }
        })
    }
}

/// Which jobs of a partition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Only ids that begin with this, literally and case-sensitively; empty restricts nothing.
    pub id_prefix: String,
    /// Only statuses of this group.
    pub status_type: StatusType,
    /// Only jobs with at least one of these labels, whatever its value; empty restricts nothing.
    pub labels_exist: Vec<String>,
    /// Only jobs that match.
    pub filter: Option<Filter>,
}

impl Selection {
    /// Whether `job` is selected.
    #[must_use]
    pub fn matches(&self, job: &Job) -> bool {
        job.key.job.as_str().starts_with(&self.id_prefix)
            && self.status_type.includes(job.status)
            && (self.labels_exist.is_empty()
                || self.labels_exist.iter().any(|label| job.labels.contains_key(label)))
            && self.filter.as_ref().is_none_or(|filter| filter.matches(job))
    }
}

/// A page of the jobs of a partition.
#[derive(Debug, Clone, PartialEq)]
pub struct JobQuery {
    /// The partition; nothing crosses it.
    pub partition: PartitionId,
    /// Which of its jobs.
    pub selection: Selection,
    /// In which order; the job id, ascending by code point, breaks ties.
    pub sort: Sort,
    /// Only jobs behind this place in the order.
    pub after: Option<Cursor>,
    /// How many selected jobs to pass over first.
    pub offset: u32,
    /// The most to return; at least 1.
    pub limit: u32,
}

impl JobQuery {
    /// The first page of everything, newest first.
    #[must_use]
    pub fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            selection: Selection::default(),
            sort: Sort::default(),
            after: None,
            offset: 0,
            limit: PAGE_SIZE_DEFAULT,
        }
    }
}

/// A page of jobs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobPage {
    /// The jobs, in the order asked for.
    pub jobs: Vec<Job>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<Cursor>,
}
