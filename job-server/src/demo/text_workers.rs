//! The workers of the demo on texts.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use job_batch_glob::FileItem;
use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use serde::de::IgnoredAny;

use super::failure_groups::failure_message;
use super::findings::Findings;
use super::language::detect_language;
use super::text::{NotText, read_text};
use super::words::count_words;

/// Where the texts are and what is known of them; shared by all workers.
#[derive(Debug, Clone)]
pub(super) struct Texts {
    pub(super) directory: PathBuf,
    pub(super) findings: Arc<Findings>,
}

impl Texts {
    /// Reads a file and has `study` look at it, on a thread that may block.
    fn study<T>(&self, file: &FileItem, study: impl FnOnce(&str) -> T) -> Result<T, NotText> {
        let path = Path::new(&file.path);
        if !path.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(NotText::Outside);
        }
        tokio::task::block_in_place(|| read_text(&self.directory.join(path)).map(|text| study(&text)))
    }
}

/// Fails the files that are no texts, so that each shows up once, with its reason.
///
/// A failed subtask fails its job and, by the contract, all jobs that wait for it. So what may fail is a job of its own
/// for which nobody waits, and the other workers pass over such files.
#[derive(Debug)]
pub(super) struct CheckText(pub(super) Texts);

impl Worker for CheckText {
    type Task = FileItem;

    const KIND: &'static str = "CheckText";

    async fn run(&self, file: FileItem, _: &TaskContext) -> WorkerResult {
        match self.0.study(&file, |_| ()) {
            Ok(()) => Ok(Outcome::done()),
            Err(reason) => Ok(Outcome::failed_as("NOT_A_TEXT", failure_message(&file.path, reason))),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` asks for")]
fn unkept(error: std::io::Error) -> String {
    format!("what was found out could not be written down: {error}")
}

/// Finds out the language of a text.
#[derive(Debug)]
pub(super) struct DetectLanguage(pub(super) Texts);

impl Worker for DetectLanguage {
    type Task = FileItem;

    const KIND: &'static str = "DetectLanguage";

    async fn run(&self, file: FileItem, _: &TaskContext) -> WorkerResult {
        if let Ok(language) = self.0.study(&file, detect_language) {
            self.0.findings.set_language(&file.path, language).map_err(unkept)?;
        }
        Ok(Outcome::done())
    }
}

/// Counts the words of a text.
#[derive(Debug)]
pub(super) struct CountWords(pub(super) Texts);

impl Worker for CountWords {
    type Task = FileItem;

    const KIND: &'static str = "CountWords";

    async fn run(&self, file: FileItem, _: &TaskContext) -> WorkerResult {
        if let Ok(words) = self.0.study(&file, count_words) {
            self.0.findings.set_words(&file.path, words).map_err(unkept)?;
        }
        Ok(Outcome::done())
    }
}

/// Puts the report together, once both batches are complete.
#[derive(Debug)]
pub(super) struct MakeReport(pub(super) Texts);

impl Worker for MakeReport {
    type Task = IgnoredAny;

    const KIND: &'static str = "MakeReport";

    async fn run(&self, _: IgnoredAny, _: &TaskContext) -> WorkerResult {
        self.0.findings.make_report()?;
        Ok(Outcome::done())
    }
}
