//! A subtask as a worker hands it over.

use bytes::Bytes;
use serde::Serialize;

use super::responses::{Response, TrackTo};
use crate::id::IdError;
use crate::message::TaskStatus;

/// One subtask, not yet numbered.
#[derive(Debug, Clone)]
#[must_use = "a subtask exists once it is sent"]
pub struct Subtask(pub(super) Response);

impl Subtask {
    /// For the workers of `kind` that consume `queue`.
    ///
    /// # Errors
    /// When the payload does not serialise.
    pub fn new(
        queue: impl Into<String>,
        kind: impl Into<String>,
        api_version: i32,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::raw(queue, kind, api_version, serde_json::to_vec(payload)?))
    }

    /// As [`new`](Self::new), with a payload that is bytes already.
    pub fn raw(
        queue: impl Into<String>,
        kind: impl Into<String>,
        api_version: i32,
        data: impl Into<Bytes>,
    ) -> Self {
        Self(Response {
            to: Some(queue.into()),
            status: TaskStatus::NewTask,
            kind: kind.into(),
            api_version,
            data: data.into(),
            track_to: TrackTo::AsReceived,
            with_context: false,
            state: None,
            failure: None,
        })
    }

    /// Lets it inherit what workers keep in the message of its parent.
    pub fn with_context(mut self) -> Self {
        self.0.with_context = true;
        self
    }

    /// Ends its tracking at another queue than its parent's; none means: where it has no further destination.
    pub fn with_track_to(mut self, queue: Option<String>) -> Self {
        self.0.track_to = TrackTo::Replaced(queue);
        self
    }
}

/// Why a subtask was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubtaskError {
    /// The job was cancelled or deleted, or has finished without this task. The task ends without a failure, whatever
    /// its worker makes of this.
    #[error("the job is not wanted any more")]
    JobEnded,
    /// The payload does not serialise.
    #[error("failed to serialise the subtask's payload")]
    Payload(#[from] serde_json::Error),
    /// There are too many subtasks, or levels of them.
    #[error("the subtask cannot be numbered")]
    Number(#[from] IdError),
}
