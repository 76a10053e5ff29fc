//! Who changed what: one record for each request that would change something, allowed or refused, done or not.
//!
//! Records are lines of JSON that are only ever appended. They hold no payload, parameter or token.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use job_core::{Clock, Timestamp};
use serde::Serialize;

use crate::auth::Caller;
use crate::router::{Endpoint, PathParameters};

/// More of an id that a client made up is not kept.
const ID_CHARACTERS_MAX: usize = 200;

/// Where records go.
#[derive(Debug)]
pub(crate) struct AuditLog {
    file: Option<AuditFile>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
struct AuditFile {
    path: PathBuf,
    open: Mutex<File>,
}

/// How many jobs an answer says were changed, for the record of a change of many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobsChanged(pub(crate) u64);

impl AuditLog {
    /// Appends to the file at `path`, or, without one, writes log lines with the target `audit`.
    ///
    /// # Errors
    /// A sentence for the operator when the file cannot be opened.
    pub(crate) fn open(path: Option<&Path>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let file = match path {
            Some(path) => Some(AuditFile { path: path.to_owned(), open: Mutex::new(append_to(path)?) }),
            None => None,
        };
        Ok(Self { file, clock })
    }

    /// Opens the file anew, so that whoever rotates logs may have moved the old one away.
    pub(crate) fn reopen(&self) {
        let Some(file) = &self.file else { return };
        match append_to(&file.path) {
            Ok(open) => *file.open.lock().unwrap_or_else(PoisonError::into_inner) = open,
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "the audit log goes on in the old file");
            }
        }
    }

    /// Begins the record of a request; none when it changes nothing whatever comes of it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        endpoint: Endpoint,
        path: &PathParameters,
        peer: SocketAddr,
        correlation_id: &str,
    ) -> Option<Entry> {
        endpoint.is_change().then(|| Entry {
            log: Arc::clone(self),
            record: Record {
                time: String::new(),
                correlation_id: correlation_id.to_owned(),
                address: peer.ip().to_canonical().to_string(),
                token: None,
                token_name: None,
                operation: endpoint,
                partition: shortened(&path.partition),
                job: (!path.job.is_empty()).then(|| shortened(&path.job)),
                allowed: false,
                status: None,
                jobs: None,
            },
        })
    }

    fn write(&self, record: &Record) {
        // Texts, numbers and truth values always have a JSON form.
        let Ok(mut line) = serde_json::to_vec(record) else { return };
        if let Some(file) = &self.file {
            line.push(b'\n');
            // One write, so that lines of several processes do not mix.
            match file.open.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, "a record of the audit log follows here instead of its file")
                }
            }
            line.pop();
        }
        tracing::info!(target: "audit", record = %String::from_utf8_lossy(&line));
    }
}

fn append_to(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path).with_context(|| format!("the audit log {} cannot be opened", path.display()))
}

/// The record of a request in hand. It is written when this is dropped, whatever came of the request.
#[derive(Debug)]
pub(crate) struct Entry {
    log: Arc<AuditLog>,
    record: Record,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    time: String,
    correlation_id: String,
    address: String,
    /// The token's id; null for nobody in particular.
    token: Option<String>,
    token_name: Option<String>,
    operation: Endpoint,
    partition: String,
    job: Option<String>,
    /// Whether the caller may do this.
    allowed: bool,
    /// The HTTP status of what came of it; null when the client went away before the request was complete, or the handler
    /// broke.
    status: Option<u16>,
    /// How many jobs a change of many changed.
    jobs: Option<u64>,
}

impl Entry {
    /// Who asks.
    pub(crate) fn asked_by(&mut self, caller: &Caller) {
        if let Caller::Token(record) = caller {
            self.record.token = Some(record.id.clone());
            self.record.token_name = Some(record.name.clone());
        }
    }

    /// They may.
    pub(crate) fn allowed(&mut self) {
        self.record.allowed = true;
    }

    /// What came of it.
    pub(crate) fn finish(mut self, status: u16, jobs: Option<JobsChanged>) {
        self.record.status = Some(status);
        self.record.jobs = jobs.map(|JobsChanged(jobs)| jobs);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.record.time = shown(self.log.clock.now());
        self.log.write(&self.record);
    }
}

/// An instant as ISO 8601, in UTC.
pub(crate) fn shown(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.as_millis()) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => time.as_millis().to_string(),
    }
}

fn shortened(id: &str) -> String {
    id.chars().take(ID_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use job_core::clock::ManualClock;

    #[test]
    fn each_change_is_one_line_even_when_nothing_came_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
        let log = Arc::new(AuditLog::open(Some(&path), clock).unwrap());
        let job =
            PathParameters { partition: "p".into(), job: "a\n\"b".repeat(100), ..PathParameters::default() };
        let peer = "[::ffff:10.0.0.1]:5".parse().unwrap();
        let begin = |endpoint| log.begin(endpoint, &job, peer, "c");
        assert!(begin(Endpoint::GetJob).is_none());
        let mut entry = begin(Endpoint::CancelJobs).unwrap();
        entry.allowed();
        entry.finish(200, Some(JobsChanged(7)));
        drop(begin(Endpoint::CreateJob));
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        log.reopen();
        begin(Endpoint::DeleteJob).unwrap().finish(401, None);
        let read = |name| {
            let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
        };
        let (old, new) = (read("old"), read("audit"));
        assert_eq!((old.len(), new.len()), (2, 1));
        assert_eq!(old[0]["operation"], "CancelJobs");
        assert_eq!(old[0]["time"], "1970-01-01T00:00:01.000Z");
        assert_eq!(old[0]["address"], "10.0.0.1");
        assert_eq!(old[0]["allowed"], true);
        assert_eq!(old[0]["jobs"], 7);
        assert_eq!(old[0]["job"].as_str().unwrap().chars().count(), 200);
        assert!(old[1]["status"].is_null() && old[1]["allowed"] == false);
        assert_eq!(new[0]["status"], 401);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_named() {
        let log = AuditLog::open(
            Some(Path::new("/nowhere/audit")),
            Arc::new(ManualClock::new(Timestamp::default())),
        );
        assert!(log.unwrap_err().to_string().contains("/nowhere/audit"));
    }
}
