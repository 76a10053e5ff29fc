//! Who changed what: one record for each request that would change something, allowed or refused, done or not.
//!
//! Records are lines of JSON that are only ever appended. They hold no payload, parameter or token.

mod writer;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use job_core::{Clock, ClockExt as _, Timestamp};
use serde::Serialize;
use tokio::sync::mpsc::Permit;

use writer::{Item, Writer};

use crate::auth::Caller;
use crate::router::{Endpoint, PathParameters};

/// More of an id that a client made up is not kept.
const ID_CHARACTERS_MAX: usize = 200;

/// Where records go.
#[derive(Debug)]
pub(crate) struct AuditLog {
    writer: Option<Writer>,
    clock: Arc<dyn Clock>,
}

/// How many jobs an answer says were changed, for the record of a change of many.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobsChanged(pub(crate) u64);

impl AuditLog {
    /// Appends to the file at `path`, or, without one, writes log lines with the target `audit`. Needs a Tokio runtime for
    /// the file.
    ///
    /// # Errors
    /// A sentence for the operator when the file cannot be opened.
    pub(crate) fn open(path: Option<&Path>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        Ok(Self { writer: path.map(Writer::start).transpose()?, clock })
    }

    /// Opens the file anew, so that whoever rotates logs may have moved the old one away.
    pub(crate) fn reopen(&self) {
        if let Some(writer) = &self.writer {
            writer.reopen();
        }
    }

    /// Waits, at most `limit`, until all records so far are on the disk; answers whether they are.
    pub(crate) async fn complete(&self, limit: Duration) -> bool {
        let Some(writer) = &self.writer else { return true };
        let is_complete = self.clock.timeout(limit, writer.complete()).await.unwrap_or(false);
        if !is_complete {
            tracing::error!("the audit log lacks its last records: its disk does not answer");
        }
        is_complete
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
            record: Some(Record {
                time: String::new(),
                correlation_id: correlation_id.to_owned(),
                address: peer.ip().to_canonical().to_string(),
                token: None,
                token_name: None,
                operation: endpoint.name(),
                partition: shortened(&path.partition),
                job: (!path.job.is_empty()).then(|| shortened(&path.job)),
                allowed: false,
                status: None,
                jobs: None,
            }),
        })
    }
}

/// Hands `record` over to the writer that has `room` for it, or else to the log.
fn put(record: &Record, room: Option<Permit<'_, Item>>) {
    // Texts, numbers and truth values always have a JSON form.
    let Ok(line) = serde_json::to_vec(record) else { return };
    match room {
        Some(room) => room.send(Item::Record(line)),
        None => log(&line),
    }
}

fn log(line: &[u8]) {
    tracing::info!(target: "audit", record = %String::from_utf8_lossy(line));
}

/// The record of a request in hand. It is handed over when this is dropped, whatever came of the request.
#[derive(Debug)]
pub(crate) struct Entry {
    log: Arc<AuditLog>,
    /// None once it is handed over.
    record: Option<Record>,
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
    /// By the name that metrics and the OpenAPI document give it.
    operation: &'static str,
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
        if let (Caller::Token(token), Some(record)) = (caller, &mut self.record) {
            record.token = Some(token.id.clone());
            record.token_name = Some(token.name.clone());
        }
    }

    /// They may.
    pub(crate) fn allowed(&mut self) {
        if let Some(record) = &mut self.record {
            record.allowed = true;
        }
    }

    pub(crate) fn is_allowed(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.allowed)
    }

    /// What came of it. Waits while more records are to be written than the disk keeps up with; when that is cancelled the
    /// record goes to the log.
    pub(crate) async fn finish(mut self, status: u16, jobs: Option<JobsChanged>) {
        if let Some(record) = &mut self.record {
            record.time = shown(self.log.clock.now());
            record.status = Some(status);
            record.jobs = jobs.map(|JobsChanged(jobs)| jobs);
        }
        let log = Arc::clone(&self.log);
        let room = match &log.writer {
            Some(writer) => writer.room().await,
            None => None,
        };
        if let Some(record) = self.record.take() {
            put(&record, room);
        }
    }

    /// Leaves no record.
    pub(crate) fn forget(mut self) {
        self.record = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        if record.time.is_empty() {
            record.time = shown(self.log.clock.now());
        }
        put(&record, self.log.writer.as_ref().and_then(Writer::room_now));
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

    const SOON: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn each_change_is_one_line_even_when_nothing_came_of_it() {
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
        entry.finish(200, Some(JobsChanged(7))).await;
        drop(begin(Endpoint::CreateJob));
        begin(Endpoint::PauseJob).unwrap().forget();
        assert!(log.complete(SOON).await);
        std::fs::rename(&path, directory.path().join("old")).unwrap();
        log.reopen();
        begin(Endpoint::DeleteJob).unwrap().finish(401, None).await;
        assert!(log.complete(SOON).await);
        let read = |name| {
            let text = std::fs::read_to_string(directory.path().join(name)).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
        };
        let (old, new) = (read("old"), read("audit"));
        assert_eq!((old.len(), new.len()), (2, 1));
        assert_eq!(old[0]["operation"], "cancelJobs");
        assert_eq!(old[0]["time"], "1970-01-01T00:00:01.000Z");
        assert_eq!(old[0]["address"], "10.0.0.1");
        assert_eq!(old[0]["allowed"], true);
        assert_eq!(old[0]["jobs"], 7);
        assert_eq!(old[0]["job"].as_str().unwrap().chars().count(), 200);
        assert!(old[1]["status"].is_null() && old[1]["allowed"] == false);
        assert_eq!(new[0]["status"], 401);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_opened_is_named() {
        let log = AuditLog::open(
            Some(Path::new("/nowhere/audit")),
            Arc::new(ManualClock::new(Timestamp::default())),
        );
        assert!(log.unwrap_err().to_string().contains("/nowhere/audit"));
    }
}
