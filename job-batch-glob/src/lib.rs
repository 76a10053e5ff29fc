//! A batch plugin that makes an item of every file below a directory that matches a glob.
//!
//! The batch definition is the glob, relative to the plugin's root: `**/*.txt`. Files are visited in the order of their
//! names, so that a repeated split gives every item the same id. When there are many, the batch is split into smaller
//! ones of a few hundred files each, whose definition is the JSON `{"files": [...]}`; a client may send that form too.
//! The item's kind is the batch's `taskMessageType`, its payload `{"path": "relative/path"}` with `/` between the parts.
//!
//! Nothing outside the root is ever named: links are followed only to places within it. Directories that cannot be read and
//! names that are not Unicode are passed over, with a warning that counts them.

mod confined;
mod walk;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use globset::{GlobBuilder, GlobMatcher};
use job_core::Error;
use job_core::worker::batch::{BatchError, BatchPlugin, BatchServices};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use confined::Root;

/// The batch type that selects this plugin, as in the CAF glob worker.
pub const GLOB_BATCH: &str = "GlobPattern";

/// The variable that names the root, as in the CAF glob worker.
const ROOT_VARIABLE: &str = "CAF_GLOB_WORKER_BINARY_DATA_INPUT_FOLDER";

/// How many files a batch may have before it is split into smaller batches.
const FILES_PER_BATCH: usize = 500;

/// The payload of an item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileItem {
    /// Relative to the plugin's root, with `/` between the parts.
    pub path: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    files: Vec<String>,
}

/// Why a definition cannot be processed.
#[derive(Debug, thiserror::Error)]
enum GlobError {
    #[error("the batch names no taskMessageType, which selects the worker of its items")]
    NoKind,
    #[error("{0:?} is not a glob: {1}")]
    NotAGlob(String, globset::ErrorKind),
    #[error("{0:?} is not a file below the root of this batch type")]
    Outside(String),
}

/// Splits a glob into one item per matching file.
#[derive(Debug, Clone)]
pub struct GlobPlugin {
    root: PathBuf,
    files_per_batch: usize,
}

impl GlobPlugin {
    /// Globs are relative to `root`, which must exist when a batch is split.
    #[must_use]
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self { root: root.as_ref().to_owned(), files_per_batch: FILES_PER_BATCH }
    }

    /// The root is what `CAF_GLOB_WORKER_BINARY_DATA_INPUT_FOLDER` names, as for the CAF glob worker. `lookup` reads a
    /// variable: a worker passes `&|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    /// [`Invalid`](job_core::ErrorKind::Invalid) when it is unset or empty.
    pub fn from_variables(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        match lookup(ROOT_VARIABLE).filter(|root| !root.is_empty()) {
            Some(root) => Ok(Self::new(root)),
            None => Err(Error::invalid(format!(
                "{ROOT_VARIABLE} is not set: expected the directory below which the files of batches lie"
            ))),
        }
    }

    /// Splits a batch of more than this many files into smaller batches; at least 1.
    #[must_use]
    pub fn with_files_per_batch(mut self, files: usize) -> Self {
        self.files_per_batch = files.max(1);
        self
    }

    async fn split(
        &self,
        services: &BatchServices<'_>,
        glob: GlobMatcher,
        kind: &str,
    ) -> Result<(), BatchError> {
        let root = Arc::new(Root::open(&self.root).map_err(BatchError::transient)?);
        let (files, mut found) = mpsc::channel(self.files_per_batch);
        let walking = job_core::Shutdown::new().spawn_blocking(move || walk::walk(&root, &glob, &files));
        // The first batch's worth is held back: only when there is more is it worth a batch of its own.
        let mut held: Vec<String> = Vec::with_capacity(self.files_per_batch);
        let mut split = false;
        while let Some(file) = found.recv().await {
            if held.len() == self.files_per_batch {
                split = true;
                register_batch(services, std::mem::take(&mut held)).await?;
            }
            held.push(file);
        }
        let passed_over = walking.await.map_err(BatchError::transient)?.map_err(BatchError::transient)?;
        if let Some((path, reason)) = passed_over.first {
            tracing::warn!(
                count = passed_over.count,
                ?path,
                reason,
                "parts of a directory tree were passed over"
            );
        }
        if split { register_batch(services, held).await } else { register_items(services, kind, held).await }
    }

    async fn check(&self, files: Vec<String>) -> Result<Vec<String>, BatchError> {
        let root = self.root.clone();
        let checking = job_core::Shutdown::new().spawn_blocking(move || {
            let root = Root::open(&root).map_err(BatchError::transient)?;
            match files.iter().find(|file| !root.holds(file)) {
                Some(file) => {
                    Err(BatchError::definition(GlobError::Outside(file.chars().take(200).collect())))
                }
                None => Ok(files),
            }
        });
        checking.await.map_err(BatchError::transient)?
    }
}

#[async_trait]
impl BatchPlugin for GlobPlugin {
    fn name(&self) -> &str {
        GLOB_BATCH
    }

    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
        let kind =
            services.message_type().ok_or_else(|| BatchError::definition(GlobError::NoKind))?.to_owned();
        if let Ok(Files { files }) = serde_json::from_str(definition) {
            return register_items(services, &kind, self.check(files).await?).await;
        }
        let glob = GlobBuilder::new(definition).literal_separator(true).build().map_err(|error| {
            let shown = definition.chars().take(200).collect();
            BatchError::definition(GlobError::NotAGlob(shown, error.kind().clone()))
        })?;
        self.split(services, glob.compile_matcher(), &kind).await
    }
}

async fn register_batch(services: &BatchServices<'_>, files: Vec<String>) -> Result<(), BatchError> {
    let definition = serde_json::to_string(&Files { files }).map_err(BatchError::definition)?;
    services.register_batch_subtask(definition).await
}

async fn register_items(
    services: &BatchServices<'_>,
    kind: &str,
    files: Vec<String>,
) -> Result<(), BatchError> {
    for path in files {
        services.register_item_subtask(kind, 1, &FileItem { path }).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_names_the_root() {
        let of = |value: Option<&str>| {
            GlobPlugin::from_variables(&|name| value.filter(|_| name == ROOT_VARIABLE).map(str::to_owned))
        };
        assert_eq!(of(Some("/inputs")).unwrap().root, Path::new("/inputs"));
        for unset in [None, Some("")] {
            assert!(of(unset).unwrap_err().message().contains("CAF_GLOB_WORKER_BINARY_DATA_INPUT_FOLDER"));
        }
    }
}
