//! The workers of a runner, by kind.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::Worker;
use super::context::TaskContext;
use super::outcome::WorkerResult;
use crate::message::TaskMessage;

/// A worker behind a pointer; its payload is still bytes.
pub(super) trait ErasedWorker: Send + Sync {
    fn kind(&self) -> &str;
    fn api_version(&self) -> i32;
    /// Reads the payload, and returns the future that runs it.
    fn start<'a>(
        &'a self,
        payload: &[u8],
        context: &'a TaskContext,
    ) -> Result<BoxFuture<'a, WorkerResult>, serde_json::Error>;
}

struct Typed<W>(W);

impl<W: Worker> ErasedWorker for Typed<W> {
    fn kind(&self) -> &str {
        self.0.kind()
    }

    fn api_version(&self) -> i32 {
        W::API_VERSION
    }

    fn start<'a>(
        &'a self,
        payload: &[u8],
        context: &'a TaskContext,
    ) -> Result<BoxFuture<'a, WorkerResult>, serde_json::Error> {
        let task: W::Task = serde_json::from_slice(payload)?;
        // The call itself is inside, so that its panics are caught with the future's.
        Ok(Box::pin(async move { self.0.run(task, context).await }))
    }
}

/// Workers by kind; the last one of a kind wins.
#[derive(Clone, Default)]
pub(super) struct Registry(Vec<Arc<dyn ErasedWorker>>);

/// Why a task is not given to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// It will never fit.
    Invalid(String),
    /// A newer worker may know it.
    Newer(String),
}

impl Registry {
    pub(super) fn add(&mut self, worker: impl Worker) {
        let worker: Arc<dyn ErasedWorker> = Arc::new(Typed(worker));
        self.0.retain(|known| known.kind() != worker.kind());
        self.0.push(worker);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All kinds, for people.
    pub(super) fn names(&self) -> String {
        self.0.iter().map(|worker| worker.kind()).collect::<Vec<_>>().join(" or ")
    }

    /// The worker for a task, with the contract's texts when there is none (messaging contract §2.8).
    pub(super) fn find(&self, message: &TaskMessage) -> Result<&dyn ErasedWorker, Mismatch> {
        let kind = message.task_classifier.as_deref().unwrap_or_default();
        let Some(worker) = self.0.iter().find(|worker| worker.kind() == kind) else {
            let kind: String = kind.chars().take(120).collect();
            let names = self.names();
            return Err(Mismatch::Invalid(format!("Task of type {kind} found on queue for {names}")));
        };
        if message.task_api_version > worker.api_version() {
            return Err(Mismatch::Newer(format!(
                "Found task version {}, which is newer than {}",
                message.task_api_version,
                worker.api_version()
            )));
        }
        Ok(worker.as_ref())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|worker| worker.kind())).finish()
    }
}
