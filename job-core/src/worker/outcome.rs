//! How a task ends.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

/// Whatever a worker's code fails with. `?` turns any error into it, and texts too.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a worker answers. An error is the same as [`Outcome::failed`] with the error's text and its causes.
pub type WorkerResult = Result<Outcome, BoxError>;

/// How a task ended, as its worker sees it.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Outcome {
    pub(super) end: End,
    pub(super) state: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    Done,
    Result(ResultMessage),
    Failed { id: Option<String>, message: String },
    Rejected { message: String },
    Retry { after: Option<Duration> },
}

/// A result on its way to another queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResultMessage {
    pub(super) queue: String,
    pub(super) kind: String,
    pub(super) api_version: i32,
    pub(super) data: Bytes,
    pub(super) success: bool,
    pub(super) completes: bool,
}

impl Outcome {
    /// The task is complete and has no output.
    pub fn done() -> Self {
        End::Done.into()
    }

    /// The task is done here and goes on as a message on `queue`, of the given kind. The task as a whole is complete when
    /// `queue` is the one at which its job stops tracking it.
    ///
    /// # Errors
    /// When the payload does not serialise.
    pub fn result(
        queue: impl Into<String>,
        kind: impl Into<String>,
        api_version: i32,
        payload: &(impl Serialize + ?Sized),
    ) -> Result<Self, serde_json::Error> {
        Ok(Self::raw_result(queue, kind, api_version, serde_json::to_vec(payload)?))
    }

    /// As [`result`](Self::result), with a payload that is bytes already.
    pub fn raw_result(
        queue: impl Into<String>,
        kind: impl Into<String>,
        api_version: i32,
        data: impl Into<Bytes>,
    ) -> Self {
        let (queue, kind, data) = (queue.into(), kind.into(), data.into());
        End::Result(ResultMessage { queue, kind, api_version, data, success: true, completes: false }).into()
    }

    /// The task cannot be done: a failure of its job.
    pub fn failed(message: impl Into<String>) -> Self {
        End::Failed { id: None, message: message.into() }.into()
    }

    /// As [`failed`](Self::failed), with an id that tells this kind of failure from others.
    pub fn failed_as(id: impl Into<String>, message: impl Into<String>) -> Self {
        End::Failed { id: Some(id.into()), message: message.into() }.into()
    }

    /// The task makes no sense: a failure of its job that trying again cannot heal.
    pub fn reject(message: impl Into<String>) -> Self {
        End::Rejected { message: message.into() }.into()
    }

    /// Something is missing for the moment: the task is delivered again, after a wait that grows with every try, or at
    /// once when the runner is stopping. Past the runner's retry limit it fails.
    ///
    /// Subtasks that were added are, as far as they are published already, published again by the next try, with the
    /// same ids.
    pub fn retry() -> Self {
        End::Retry { after: None }.into()
    }

    /// As [`retry`](Self::retry), after this wait; a quarter of an hour at most, during which the delivery is held.
    pub fn retry_after(wait: Duration) -> Self {
        End::Retry { after: Some(wait) }.into()
    }

    /// The task as a whole is complete with this result, wherever it goes. Changes nothing about other outcomes.
    pub fn completing(mut self) -> Self {
        if let End::Result(result) = &mut self.end {
            result.completes = true;
        }
        self
    }

    /// The result says no (`RESULT_FAILURE`): still no failure of the job. Changes nothing about other outcomes.
    pub fn unsuccessful(mut self) -> Self {
        if let End::Result(result) = &mut self.end {
            result.success = false;
        }
        self
    }

    /// Keeps bytes in the message for the next worker with the same context key.
    pub fn with_state(mut self, state: impl Into<Bytes>) -> Self {
        self.state = Some(state.into());
        self
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        Self { end, state: None }
    }
}

/// The text of an error and of everything that caused it.
pub(super) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        // Many errors print their cause themselves.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the page cannot be read")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_is_described_with_its_causes() {
        assert_eq!(
            describe(&Outer(std::io::Error::other("disk full"))),
            "the page cannot be read: disk full"
        );
    }

    #[test]
    fn modifiers_of_results_leave_other_outcomes_alone() {
        assert_eq!(Outcome::done().completing().unsuccessful(), Outcome::done());
    }
}
