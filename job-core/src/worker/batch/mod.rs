//! Splits a batch definition into item tasks and smaller batches (messaging contract §5).
//!
//! What a definition means is a [`BatchPlugin`]'s business; the [`BatchWorker`] finds the plugin by the name in the task
//! and sends on what it registers.

mod plugin;
mod task;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::outcome::describe;
use super::{Outcome, TaskContext, Worker, WorkerResult};

pub use plugin::{BatchError, BatchPlugin, BatchServices};
pub use task::BatchTask;

/// The kind of batch tasks.
pub const BATCH_KIND: &str = "BatchWorker";

/// What a batch that was split answers with (messaging contract §5.3). It completes the batch's own task in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BatchAnswer {
    /// Nothing: `RETURN_NONE`.
    #[default]
    None,
    /// A message that names the batch, on this queue: `RETURN_ALL`.
    Always {
        /// The queue.
        queue: String,
    },
    /// Such a message only for a batch without a single subtask: `RETURN_ONLY_IF_ZERO_SUBTASKS`.
    IfEmpty {
        /// The queue.
        queue: String,
    },
}

/// Performs batch tasks.
///
/// ```
/// use job_core::worker::batch::{BatchError, BatchPlugin, BatchServices, BatchWorker};
///
/// struct Lines;
///
/// #[async_trait::async_trait]
/// impl BatchPlugin for Lines {
///     fn name(&self) -> &str {
///         "Lines"
///     }
///
///     async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
///         for line in definition.lines() {
///             services.register_item_subtask("Line", 1, &line).await?;
///         }
///         Ok(())
///     }
/// }
///
/// let worker = BatchWorker::new().with_plugin(Lines);
/// ```
#[derive(Clone, Default)]
pub struct BatchWorker {
    plugins: BTreeMap<String, Arc<dyn BatchPlugin>>,
    answer: BatchAnswer,
}

impl BatchWorker {
    /// Without plugins, answering nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Splits batches of the plugin's type with it; all tasks share the plugin.
    #[must_use]
    pub fn with_plugin(mut self, plugin: impl BatchPlugin) -> Self {
        self.plugins.insert(plugin.name().to_owned(), Arc::new(plugin));
        self
    }

    /// What a batch that was split answers with.
    #[must_use]
    pub fn with_answer(mut self, answer: BatchAnswer) -> Self {
        self.answer = answer;
        self
    }
}

impl fmt::Debug for BatchWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchWorker")
            .field("plugins", &self.plugins.keys())
            .field("answer", &self.answer)
            .finish()
    }
}

impl Worker for BatchWorker {
    type Task = BatchTask;

    const KIND: &'static str = BATCH_KIND;

    async fn run(&self, task: BatchTask, context: &TaskContext) -> WorkerResult {
        let name = task.batch_type.as_deref().unwrap_or_default();
        let Some(plugin) = self.plugins.get(name) else {
            let name: String = name.chars().take(120).collect();
            // Two blanks, as the texts of the framework have it.
            return Ok(Outcome::failed(format!("Invalid batch type  {name}")));
        };
        let services = BatchServices::new(&task, context);
        let definition = task.batch_definition.as_deref().unwrap_or_default();
        match plugin.process(&services, definition).await {
            Ok(()) => self.answer(&task, context, services.registered()),
            Err(BatchError::Transient(error)) => {
                tracing::warn!(error = describe(error.as_ref()), "a batch is tried again later");
                Ok(Outcome::retry())
            }
            Err(BatchError::Definition(error)) => {
                Ok(Outcome::failed(format!("Failed to process batch. {}", describe(error.as_ref()))))
            }
            Err(BatchError::Subtask(error)) => Err(error.into()),
        }
    }
}

impl BatchWorker {
    fn answer(&self, task: &BatchTask, context: &TaskContext, registered: u64) -> WorkerResult {
        let queue = match &self.answer {
            BatchAnswer::Always { queue } => queue,
            BatchAnswer::IfEmpty { queue } if registered == 0 => queue,
            BatchAnswer::None | BatchAnswer::IfEmpty { .. } => return Ok(Outcome::done()),
        };
        let tracked = context.tracking().and_then(|tracking| tracking.job_task_id.as_deref());
        // The id as it was received, which need not name its partition.
        let batch = tracked.and_then(|id| id.split('.').next()).or(task.target_pipe.as_deref());
        let payload = serde_json::json!({ "batchTask": batch });
        Ok(Outcome::result(queue, BATCH_KIND, Self::API_VERSION, &payload)?.completing())
    }
}
