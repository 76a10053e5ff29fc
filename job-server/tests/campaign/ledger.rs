//! What was asked for and answered, and what was received.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use job_core::JobKey;
use job_core::message::TaskMessage;
use serde::{Deserialize, Serialize};

/// What a task does; its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// How many subtasks each task has.
    pub(crate) width: u32,
    /// How many levels of subtasks are left.
    pub(crate) depth: u32,
    /// Whether the first leaf fails for good.
    pub(crate) fails: bool,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// 2xx.
    Ok,
    /// The service said that it did nothing.
    Refused,
    /// No answer, or 503.
    Unknown,
}

/// Requests about one job. Each job is one client's own, who asks one thing after the other.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) work: Work,
    pub(crate) prerequisites: Vec<JobKey>,
    pub(crate) created: Answer,
    pub(crate) cancelled: Option<Answer>,
    pub(crate) deleted: Option<Answer>,
    /// Whether a pause was ever asked for that was not refused.
    pub(crate) paused: bool,
}

/// Everything a campaign remembers.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    jobs: Mutex<BTreeMap<JobKey, Entry>>,
    received: Mutex<Received>,
    wrong: Mutex<Vec<String>>,
}

/// Messages that workers got.
#[derive(Debug, Default)]
struct Received {
    /// By tracking id, the ids of the messages.
    ids: BTreeMap<String, BTreeSet<String>>,
    messages: u64,
}

/// What a campaign did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    /// Jobs whose creation was answered with 2xx.
    pub(crate) accepted: usize,
    /// Jobs of which the client never heard.
    pub(crate) unknown: usize,
    /// Messages that workers got.
    pub(crate) messages: u64,
    /// Those that they had got before.
    pub(crate) repeated: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, unknown, messages, repeated } = self;
        write!(
            f,
            "{accepted} jobs accepted, {unknown} unanswered, {messages} messages, {repeated} of them repeats"
        )
    }
}

impl Ledger {
    pub(crate) fn write(&self, key: &JobKey, change: impl FnOnce(&mut Entry)) {
        change(self.jobs.lock().unwrap().get_mut(key).unwrap());
    }

    pub(crate) fn begin(&self, key: JobKey, entry: Entry) {
        let before = self.jobs.lock().unwrap().insert(key, entry);
        assert!(before.is_none(), "a job is written down once");
    }

    pub(crate) fn entry(&self, key: &JobKey) -> Option<Entry> {
        self.jobs.lock().unwrap().get(key).cloned()
    }

    pub(crate) fn entries(&self) -> BTreeMap<JobKey, Entry> {
        self.jobs.lock().unwrap().clone()
    }

    /// Something that must never happen.
    pub(crate) fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
    }

    pub(crate) fn all_wrong(&self) -> Vec<String> {
        let ambiguous = self.received.lock().unwrap();
        let ambiguous = ambiguous.ids.iter().filter(|(_, ids)| ids.len() > 1);
        let ambiguous = ambiguous.map(|(task, ids)| format!("the task {task} has the messages {ids:?}"));
        self.wrong.lock().unwrap().iter().cloned().chain(ambiguous).collect()
    }

    /// A worker got this message.
    pub(crate) fn received(&self, message: &TaskMessage) {
        let tracking = message.tracking.as_ref().and_then(|tracking| tracking.job_task_id.clone());
        let Some(task) = tracking else { return self.wrong(format!("untracked: {message:?}")) };
        let mut received = self.received.lock().unwrap();
        received.messages += 1;
        received.ids.entry(task).or_default().insert(message.task_id.clone());
    }

    pub(crate) fn was_received(&self, key: &JobKey) -> bool {
        self.received.lock().unwrap().ids.contains_key(&key.to_string())
    }

    pub(crate) fn totals(&self) -> Totals {
        let jobs = self.jobs.lock().unwrap();
        let received = self.received.lock().unwrap();
        let count = |answer| jobs.values().filter(|entry| entry.created == answer).count();
        Totals {
            accepted: count(Answer::Ok),
            unknown: count(Answer::Unknown),
            messages: received.messages,
            repeated: received.messages - received.ids.len() as u64,
        }
    }
}
