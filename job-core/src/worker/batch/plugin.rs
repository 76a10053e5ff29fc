//! The seam for code that understands batch definitions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::Serialize;

use super::super::{BoxError, Subtask, SubtaskError, TaskContext};
use super::{BATCH_KIND, BatchTask};

/// Understands one type of batch definition.
#[async_trait]
pub trait BatchPlugin: Send + Sync + 'static {
    /// The batch type that selects it.
    fn name(&self) -> &str;

    /// Registers the items and smaller batches that `definition` consists of. They are published while it goes on, so a
    /// batch may have any number of them; an order that is the same in every try gives them the same ids.
    ///
    /// *Errors.* [`BatchError`] says whether trying again can help.
    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError>;
}

/// Why a batch was not split.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The definition is wrong: the batch fails.
    #[error("failed to process batch")]
    Definition(#[source] BoxError),
    /// Something is missing for the moment: the batch is tried again.
    #[error("failed to process batch for the moment")]
    Transient(#[source] BoxError),
    /// A subtask was not taken.
    #[error(transparent)]
    Subtask(#[from] SubtaskError),
}

impl BatchError {
    /// The definition is wrong.
    pub fn definition(error: impl Into<BoxError>) -> Self {
        Self::Definition(error.into())
    }

    /// Something is missing for the moment.
    pub fn transient(error: impl Into<BoxError>) -> Self {
        Self::Transient(error.into())
    }
}

/// What a plugin is given besides the definition.
pub struct BatchServices<'a> {
    task: &'a BatchTask,
    context: &'a TaskContext,
    registered: AtomicU64,
}

impl<'a> BatchServices<'a> {
    pub(super) fn new(task: &'a BatchTask, context: &'a TaskContext) -> Self {
        Self { task, context, registered: AtomicU64::new(0) }
    }

    /// The hint what to make of an item.
    #[must_use]
    pub fn message_type(&self) -> Option<&str> {
        self.task.task_message_type.as_deref()
    }

    /// More hints; none is the same as an empty map.
    #[must_use]
    pub fn message_params(&self) -> Option<&BTreeMap<String, Option<String>>> {
        self.task.task_message_params.as_ref()
    }

    /// The task that is being split.
    #[must_use]
    pub fn context(&self) -> &TaskContext {
        self.context
    }

    pub(super) fn registered(&self) -> u64 {
        self.registered.load(Ordering::Relaxed)
    }

    /// Adds a smaller batch: the same task with another definition, on the queue that this one came from.
    ///
    /// # Errors
    /// See [`TaskContext::subtask`].
    pub async fn register_batch_subtask(&self, definition: impl Into<String>) -> Result<(), BatchError> {
        let batch = BatchTask { batch_definition: Some(definition.into()), ..self.task.clone() };
        let subtask = Subtask::new(self.context.queue(), BATCH_KIND, 1, &batch);
        self.send(subtask).await
    }

    /// Adds an item: a task of `kind` on the batch's target queue.
    ///
    /// # Errors
    /// When the batch names no target queue; otherwise see [`TaskContext::subtask`].
    pub async fn register_item_subtask(
        &self,
        kind: &str,
        api_version: i32,
        payload: &(impl Serialize + Sync + ?Sized),
    ) -> Result<(), BatchError> {
        let Some(queue) = self.task.target_pipe.as_deref().filter(|queue| !queue.is_empty()) else {
            return Err(BatchError::definition("the batch names no targetPipe for its items"));
        };
        let data = serde_json::to_vec(payload).map_err(SubtaskError::from)?;
        self.send(Ok(Subtask::raw(queue, kind, api_version, data))).await
    }

    async fn send(&self, subtask: Result<Subtask, serde_json::Error>) -> Result<(), BatchError> {
        self.context.send(subtask.map_err(SubtaskError::from)?).await?;
        self.registered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for BatchServices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchServices")
            .field("task", &self.context.task_id())
            .field("registered", &self.registered())
            .finish_non_exhaustive()
    }
}
