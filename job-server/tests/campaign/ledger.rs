//! What was asked for and answered, and what was received.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

use job_core::JobKey;
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
    /// By tracking id.
    tasks: BTreeMap<String, Receipts>,
    /// What came before, and why it came again.
    repeats: Repeats,
    /// Tasks that were passed on to be kept, by tracking id.
    kept: BTreeSet<String>,
}

/// How often one task came.
#[derive(Debug, Default)]
struct Receipts {
    /// Of its messages.
    ids: BTreeSet<String>,
    all: u64,
    /// Those that the broker had not handed to a worker before, by its own account: as many have been published.
    fresh: u64,
}

/// Messages that workers had got before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Repeats {
    /// The broker delivered them again: nobody had acked them.
    pub(crate) redelivered: u64,
    /// First messages of jobs that were published again.
    pub(crate) dispatched: u64,
    /// Subtasks that a worker published again, since it got their task again.
    pub(crate) followed: u64,
    /// Tasks that were passed on to be kept: by a worker that had no time to ack that, or by a stower.
    pub(crate) kept: u64,
}

/// The task whose worker makes this one; none for the first of a job.
fn parent(task: &str) -> Option<&str> {
    task.rsplit_once('.').map(|(parent, _)| parent)
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
    /// Tasks that workers passed on, since their jobs were paused.
    pub(crate) kept: usize,
    pub(crate) repeats: Repeats,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, unknown, messages, kept, repeats } = self;
        let Repeats { redelivered, dispatched, followed, kept: kept_again } = repeats;
        write!(
            f,
            "{accepted} jobs accepted, {unknown} unanswered, {messages} messages, {kept} tasks kept while their jobs were paused, \
             {} repeats ({redelivered} redelivered, {dispatched} dispatched again, {kept_again} kept before, \
             {followed} followed from these)",
            repeats.all()
        )
    }
}

impl Repeats {
    pub(crate) const fn all(&self) -> u64 {
        self.redelivered + self.dispatched + self.followed + self.kept
    }
}

/// What workers write down before they do anything. It must survive them.
pub(crate) trait Diary: fmt::Debug + Send + Sync {
    /// A worker got the message `id` of a task.
    fn received(&self, task: &str, id: &str, is_redelivered: bool);

    /// A worker found a task's job paused, and passes the task on to be kept.
    fn kept(&self, task: &str);

    /// Something that must never happen.
    fn wrong(&self, what: String);
}

impl Diary for Ledger {
    fn received(&self, task: &str, id: &str, is_redelivered: bool) {
        let mut received = self.received.lock().unwrap();
        let Received { tasks, repeats, kept } = &mut *received;
        let receipts = tasks.entry(task.to_owned()).or_default();
        if receipts.all > 0 {
            let reason = match (is_redelivered, parent(task)) {
                (true, _) => &mut repeats.redelivered,
                (false, _) if kept.contains(task) => &mut repeats.kept,
                (false, None) => &mut repeats.dispatched,
                (false, Some(_)) => &mut repeats.followed,
            };
            *reason += 1;
        }
        receipts.all += 1;
        receipts.fresh += u64::from(!is_redelivered);
        receipts.ids.insert(id.to_owned());
    }

    fn kept(&self, task: &str) {
        self.received.lock().unwrap().kept.insert(task.to_owned());
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().unwrap().push(what);
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

    pub(crate) fn all_wrong(&self) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let wrong = received.tasks.iter().filter_map(|(task, receipts)| {
            // A worker publishes the subtasks of a task once each time it gets it; one that is kept may come again.
            let times = parent(task).map(|parent| received.tasks.get(parent).map_or(0, |parent| parent.all));
            let was_kept = received.kept.contains(task);
            let is_explained = was_kept || times.is_none_or(|times| receipts.fresh <= times);
            let is_right = receipts.ids.len() == 1 && is_explained;
            (!is_right).then(|| format!("of {task}, whose task came {times:?} times, came {receipts:?}"))
        });
        self.wrong.lock().unwrap().iter().cloned().chain(wrong).collect()
    }

    pub(crate) fn was_received(&self, key: &JobKey) -> bool {
        self.received.lock().unwrap().tasks.contains_key(&key.to_string())
    }

    /// How often each task of a job came, of them how often as a new message.
    pub(crate) fn receipts(&self, job: &JobKey) -> BTreeMap<String, (u64, u64)> {
        let of_job = |task: &str| task.split('.').next() == Some(&job.to_string());
        let received = self.received.lock().unwrap();
        let of_job = received.tasks.iter().filter(|(task, _)| of_job(task));
        of_job.map(|(task, receipts)| (task.clone(), (receipts.all, receipts.fresh))).collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        let jobs = self.jobs.lock().unwrap();
        let received = self.received.lock().unwrap();
        let count = |answer| jobs.values().filter(|entry| entry.created == answer).count();
        Totals {
            accepted: count(Answer::Ok),
            unknown: count(Answer::Unknown),
            messages: received.tasks.values().map(|receipts| receipts.all).sum(),
            kept: received.kept.len(),
            repeats: received.repeats,
        }
    }
}
