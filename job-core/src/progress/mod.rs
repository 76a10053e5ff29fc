//! Subtask accounting: which subtasks are complete, which failed, and what percentage of the job that makes.
//!
//! A job's tasks form a tree. A [`Tree`] holds the completed children of each task as a set (one bit each) and a record
//! only for tasks that have something to say: subtasks, a partial percentage, a failure. Taking in a report costs
//! O(depth); reading the percentage is O(1). The result is a function of the set of reports, whatever their order and
//! multiplicity: completion is final, the highest reported percentage counts, the larger of two totals stands.
//!
//! Nothing here does I/O. A store that keeps the tree in rows loads the [`Footprint`] of a batch, calls
//! [`Tree::record`], and writes back what [`Tree::drain`] returns.

mod codec;
mod completed;
mod node;
mod percentage;

use std::collections::BTreeSet;

pub use codec::Corrupt;
pub use completed::{CHUNK_CHILDREN, chunk_of};
pub use percentage::Percentage;

use crate::id::{TaskId, TaskPath};
use crate::job::{Failure, SubtaskCounts};
use node::{Descent, Node};

/// What a worker says about a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportEvent {
    /// It is this far; zero says nothing and is not counted (messaging contract §4.6).
    Progress(Percentage),
    /// It is complete, final and whatever happens below it.
    Complete,
    /// It failed; the failure stands until the task completes after all.
    Failed(Failure),
}

/// Whether a report changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    /// It was new.
    Counted,
    /// It said nothing that was not known.
    Duplicate,
}

/// Something in the reports that a correct worker does not send. It is counted as well as it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anomaly {
    /// Two different subtasks were marked as the last; the larger stands.
    ConflictingTotals {
        /// Their parent.
        parent: TaskPath,
        /// The total known before and the one reported now.
        totals: [u32; 2],
    },
    /// A subtask is numbered higher than the last; it is remembered but counts for nothing.
    BeyondTotal {
        /// Its parent.
        parent: TaskPath,
        /// Its number.
        number: u32,
        /// The number of the last.
        total: u32,
    },
}

/// What a batch of reports did besides counting.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// New failures in order of arrival.
    pub failures: Vec<(TaskPath, Failure)>,
    /// Tasks that are complete after failures in them or below: those failures are over.
    pub recovered: Vec<TaskPath>,
    /// Tasks whose record, and all records and chunks below it, are of no more use.
    pub dropped: Vec<TaskPath>,
    /// What a correct worker would not have sent.
    pub anomalies: Vec<Anomaly>,
}

/// The progress of one job, or the part of it that a batch of reports touches.
///
/// ```
/// use job_core::progress::{Effects, ReportEvent, Tree};
/// let mut tree = Tree::default();
/// let mut effects = Effects::default();
/// for task in [".2", ".3*", ".1", ".1"] {
///     tree.record(&task.parse()?, &ReportEvent::Complete, &mut effects);
/// }
/// assert!(tree.is_complete());
/// # Ok::<(), job_core::IdError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tree {
    root: Node,
}

impl Tree {
    /// Takes in one report, in O(depth).
    pub fn record(&mut self, task: &TaskId, event: &ReportEvent, effects: &mut Effects) -> Reported {
        if *event == ReportEvent::Progress(Percentage::ZERO) {
            return Reported::Duplicate;
        }
        self.root.record(&Descent { path: task.path(), depth: 0, is_final: task.is_final(), event }, effects)
    }

    /// How much of the job is complete.
    #[must_use]
    pub fn percentage(&self) -> Percentage {
        self.root.value()
    }

    /// Whether every subtask, or the job itself, is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.root.is_complete()
    }

    /// Whether a failure stands.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.root.is_failed()
    }

    /// How many failures stand.
    #[must_use]
    pub fn failure_count(&self) -> u64 {
        self.root.failures()
    }

    /// The direct subtasks of the job.
    #[must_use]
    pub fn counts(&self) -> SubtaskCounts {
        self.root.counts()
    }

    /// One level of the tree: the children of `parent` numbered higher than `after`, at most `limit` of them.
    #[must_use]
    pub fn children(&self, parent: &TaskPath, after: u32, limit: usize) -> Vec<TaskProgress> {
        let Some(node) = self.root.at(parent.numbers()) else { return Vec::new() };
        let numbers = node.children_after(after).into_iter().take(limit);
        numbers
            .filter_map(|number| {
                let path = parent.child(number).ok()?;
                Some(if node.has_completed(number) {
                    TaskProgress {
                        path,
                        percentage: Percentage::FULL,
                        failed: false,
                        subtasks: SubtaskCounts::default(),
                    }
                } else {
                    let child = node.at(&[number])?;
                    TaskProgress {
                        path,
                        percentage: child.value(),
                        failed: child.is_failed(),
                        subtasks: child.counts(),
                    }
                })
            })
            .collect()
    }

    /// Recomputes every derived number from the sets, calls `note` with (task, what, stored, counted) for each that was
    /// wrong, and corrects it. Needs the whole tree.
    pub fn recount(&mut self, mut note: impl FnMut(&TaskPath, &'static str, u64, u64)) {
        self.root.recount(&TaskPath::root(), &mut note);
    }

    /// Puts in a stored record. Parents must be put in before their children.
    ///
    /// # Errors
    /// [`Corrupt`] when the bytes are not a record.
    pub fn load_record(&mut self, path: &TaskPath, bytes: &[u8]) -> Result<(), Corrupt> {
        *self.root.at_mut(path.numbers()) = Node::decode(bytes)?;
        Ok(())
    }

    /// Puts in a stored chunk of completed children; the record of `parent` must be in already.
    ///
    /// # Errors
    /// [`Corrupt`] when the bytes are not a chunk.
    pub fn load_chunk(&mut self, parent: &TaskPath, index: u32, bytes: &[u8]) -> Result<(), Corrupt> {
        self.root.at_mut(parent.numbers()).put_chunk(index, bytes)
    }

    /// Which further parts must be loaded before these tasks are recorded: for each `(parent, number)`, the chunks and
    /// the direct children's records of `parent` beyond `number`. Almost always empty: only a total that is smaller
    /// than a number already seen makes children beyond it count for nothing.
    #[must_use]
    pub fn recounts_needed<'a>(
        &self,
        tasks: impl IntoIterator<Item = &'a TaskId>,
    ) -> BTreeSet<(TaskPath, u32)> {
        tasks
            .into_iter()
            .filter(|task| task.is_final())
            .filter_map(|task| task.path().split_last())
            .filter(|(parent, number)| {
                self.root.at(parent.numbers()).is_some_and(|node| node.needs_recount(*number))
            })
            .collect()
    }

    /// Whether any child of `parent` has a record. While none has, a store need not look for the records of its
    /// children: almost every report completes a task that never had one.
    #[must_use]
    pub fn has_child_records(&self, parent: &TaskPath) -> bool {
        self.root.at(parent.numbers()).is_some_and(Node::has_child_records)
    }

    /// Returns what changed since the last call, for a store to write. The records and chunks below
    /// [`Effects::dropped`] must be removed first.
    pub fn drain(&mut self) -> Changes {
        let mut changes = Changes::default();
        self.root.drain(&TaskPath::root(), &mut |path, record, chunks| {
            changes.records.push((path.clone(), record));
            changes.chunks.extend(chunks.into_iter().map(|(index, bytes)| (path.clone(), index, bytes)));
        });
        changes
    }

    /// Bytes of heap memory in use, without the allocator's own.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.root.heap_bytes()
    }
}

/// One task as the progress tree shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskProgress {
    /// Where it is.
    pub path: TaskPath,
    /// How much of it is complete.
    pub percentage: Percentage,
    /// Whether a failure stands in it or below.
    pub failed: bool,
    /// Its direct subtasks; zeros once it is complete, since a completed task keeps one bit.
    pub subtasks: SubtaskCounts,
}

/// What a store writes back: stored forms by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Records to insert or replace.
    pub records: Vec<(TaskPath, Vec<u8>)>,
    /// Chunks (of index 1 and up; chunk 0 is part of its parent's record) to insert or replace.
    pub chunks: Vec<(TaskPath, u32, Vec<u8>)>,
}

/// Which stored parts a batch of reports touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Paths of tasks above the reported ones, parents before children; the job's own, empty path is among them.
    pub parents: BTreeSet<TaskPath>,
    /// Paths of the reported tasks themselves. Their records are needed only where
    /// [`Tree::has_child_records`] says of their parent that there may be one.
    pub tasks: BTreeSet<TaskPath>,
    /// Chunks by parent and index; only those that are stored on their own (index 1 and up).
    pub chunks: BTreeSet<(TaskPath, u32)>,
}

impl Footprint {
    /// The footprint of reports about these tasks.
    #[must_use]
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a TaskPath>) -> Self {
        let mut footprint = Self::default();
        footprint.parents.insert(TaskPath::root());
        for path in paths {
            let numbers = path.numbers();
            for depth in 0..numbers.len() {
                let parent = TaskPath::new(&numbers[..depth]).expect("a prefix of a valid path is valid");
                let index = chunk_of(numbers[depth]);
                if index > 0 {
                    footprint.chunks.insert((parent.clone(), index));
                }
                footprint.parents.insert(parent);
            }
            footprint.tasks.insert(path.clone());
        }
        footprint
    }
}
