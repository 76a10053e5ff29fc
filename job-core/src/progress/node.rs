//! What is known of one task that has something to say: subtasks of its own, a partial percentage, a failure.

use std::collections::BTreeMap;

use super::codec::{Corrupt, Reader, write_varint};
use super::completed::{Chunk, Completed};
use super::percentage::Percentage;
use super::{Anomaly, Effects, ReportEvent, Reported};
use crate::id::TaskPath;
use crate::job::{Failure, SubtaskCounts};

/// How many different failures one task keeps; a task that is retried for ever must not grow for ever.
const FAILURES_PER_TASK_MAX: usize = 100;

const ENCODING_VERSION: u8 = 1;

#[derive(Debug, Clone, Default)]
pub(crate) struct Node {
    /// The highest percentage the task itself reported.
    own: u64,
    /// The number of the last child, 0 while unknown.
    total: u32,
    /// The highest child number seen.
    seen: u32,
    /// Completed children, those beyond `total` included.
    completed: u32,
    /// Completed children beyond `total`.
    completed_beyond: u32,
    /// Incomplete children that failed, themselves or below.
    failed: u32,
    /// Failures kept of this task and everything below it.
    failures: u64,
    /// Sum of what the incomplete children contribute, those beyond `total` included.
    partial: u64,
    /// The part of `partial` that lies beyond `total`.
    partial_beyond: u64,
    /// What this task contributes to its parent's `partial`.
    contribution: u64,
    /// Recognises a failure that was reported before.
    failure_digests: Vec<u64>,
    /// Children that have a record of their own: while there is none, a store need not look for one.
    records: u32,
    /// The task itself was reported complete; only ever kept at the root, where no parent holds the bit.
    own_complete: bool,
    completed_set: Completed,
    children: BTreeMap<u32, Box<Self>>,
    dirty: bool,
}

/// Where a report is on its way down the tree.
pub(crate) struct Descent<'a> {
    pub(crate) path: &'a TaskPath,
    pub(crate) depth: usize,
    pub(crate) is_final: bool,
    pub(crate) event: &'a ReportEvent,
}

impl Descent<'_> {
    fn here(&self) -> TaskPath {
        TaskPath::new(&self.path.numbers()[..self.depth]).expect("a prefix of a valid path is valid")
    }
}

impl Node {
    pub(crate) fn is_complete(&self) -> bool {
        self.own_complete || self.total > 0 && self.completed - self.completed_beyond == self.total
    }

    pub(crate) fn is_failed(&self) -> bool {
        !self.failure_digests.is_empty() || self.failed > 0
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures
    }

    pub(crate) fn counts(&self) -> SubtaskCounts {
        SubtaskCounts {
            total: (self.total > 0).then_some(self.total),
            completed: self.completed - self.completed_beyond,
            failed: self.failed,
        }
    }

    /// REST contract §4.4: the mean over the children, with one more than seen while the last is unknown.
    pub(crate) fn value(&self) -> Percentage {
        if self.is_complete() {
            return Percentage::FULL;
        }
        let (completed, partial, children) = if self.total > 0 {
            (self.completed - self.completed_beyond, self.partial - self.partial_beyond, self.total)
        } else {
            (self.completed, self.partial, self.seen.saturating_add(1))
        };
        let sum = u64::from(completed) * Percentage::FULL.steps() + partial;
        let mean = sum / u64::from(children);
        Percentage::from_steps(mean.min(Percentage::INCOMPLETE_MAX.steps()).max(self.own))
    }

    /// Takes in one report about the task at `at.path[at.depth..]` below this one.
    pub(crate) fn record(&mut self, at: &Descent<'_>, effects: &mut Effects) -> Reported {
        let Some((&number, below)) = at.path.numbers()[at.depth..].split_first() else {
            return self.record_own(at, effects);
        };
        let mut reported = Reported::Duplicate;
        if below.is_empty() && at.is_final && self.learn_total(number, at, effects) {
            reported = Reported::Counted;
        }
        if self.completed_set.contains(number) {
            return reported;
        }
        self.see(number, at, effects);
        if below.is_empty() && matches!(at.event, ReportEvent::Complete) {
            self.complete_child(number, at, effects);
            return Reported::Counted;
        }
        let child = self.children.entry(number).or_insert_with(|| {
            self.records += 1;
            Box::default()
        });
        let before = (child.is_failed(), child.failures);
        let below = child.record(&Descent { depth: at.depth + 1, ..*at }, effects);
        if below == Reported::Duplicate {
            return reported;
        }
        self.account_for(number, before);
        if self.children[&number].is_complete() {
            self.complete_child(number, at, effects);
        }
        self.dirty = true;
        Reported::Counted
    }

    fn record_own(&mut self, at: &Descent<'_>, effects: &mut Effects) -> Reported {
        match at.event {
            ReportEvent::Complete => {
                if self.own_complete {
                    return Reported::Duplicate;
                }
                self.own_complete = true;
            }
            ReportEvent::Progress(percentage) => {
                let reported = percentage.steps().min(Percentage::REPORTED_MAX.steps());
                if reported <= self.own {
                    return Reported::Duplicate;
                }
                self.own = reported;
            }
            ReportEvent::Failed(failure) => {
                let digest = digest(failure);
                if self.failure_digests.contains(&digest)
                    || self.failure_digests.len() == FAILURES_PER_TASK_MAX
                {
                    return Reported::Duplicate;
                }
                self.failure_digests.push(digest);
                self.failures += 1;
                effects.failures.push((at.path.clone(), failure.clone().bounded()));
            }
        }
        self.dirty = true;
        Reported::Counted
    }

    /// The larger of two different totals stands, so that the order in which they arrive does not matter.
    fn learn_total(&mut self, number: u32, at: &Descent<'_>, effects: &mut Effects) -> bool {
        if self.total != 0 && number != self.total {
            effects
                .anomalies
                .push(Anomaly::ConflictingTotals { parent: at.here(), totals: [self.total, number] });
        }
        if number <= self.total {
            return false;
        }
        self.total = number;
        (self.completed_beyond, self.partial_beyond) = (0, 0);
        if self.seen > number {
            self.completed_beyond = self.completed_set.count_above(number);
            self.partial_beyond =
                self.children.range(number + 1..).map(|(_, child)| child.contribution).sum();
        }
        self.dirty = true;
        true
    }

    fn see(&mut self, number: u32, at: &Descent<'_>, effects: &mut Effects) {
        if number > self.seen {
            self.seen = number;
            self.dirty = true;
            if self.total != 0 && number > self.total {
                effects.anomalies.push(Anomaly::BeyondTotal { parent: at.here(), number, total: self.total });
            }
        }
    }

    fn is_beyond(&self, number: u32) -> bool {
        self.total != 0 && number > self.total
    }

    fn complete_child(&mut self, number: u32, at: &Descent<'_>, effects: &mut Effects) {
        let beyond = self.is_beyond(number);
        if let Some(child) = self.children.remove(&number) {
            self.partial -= child.contribution;
            if beyond {
                self.partial_beyond -= child.contribution;
            }
            self.failed -= u32::from(child.is_failed());
            self.failures -= child.failures;
            let path = at.here().child(number).expect("a prefix of a valid path is valid");
            if child.failures > 0 {
                effects.recovered.push(path.clone());
            }
            effects.dropped.push(path);
            self.records -= 1;
        }
        self.completed_set.insert(number);
        self.completed += 1;
        self.completed_beyond += u32::from(beyond);
        self.dirty = true;
    }

    /// Brings the sums up to date after the child changed; `before` is whether it had failed, and its failures.
    fn account_for(&mut self, number: u32, before: (bool, u64)) {
        let beyond = self.is_beyond(number);
        let child = self.children.get_mut(&number).expect("the child was just recorded");
        let (old, new) = (child.contribution, child.value().steps());
        child.dirty |= old != new;
        child.contribution = new;
        self.partial = self.partial - old + new;
        if beyond {
            self.partial_beyond = self.partial_beyond - old + new;
        }
        self.failures = self.failures - before.1 + child.failures;
        self.failed = self.failed - u32::from(before.0) + u32::from(child.is_failed());
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![ENCODING_VERSION];
        for value in [
            u64::from(self.own_complete),
            self.own,
            u64::from(self.total),
            u64::from(self.seen),
            u64::from(self.completed),
            u64::from(self.completed_beyond),
            u64::from(self.failed),
            self.failures,
            self.partial,
            self.partial_beyond,
            self.contribution,
            u64::from(self.records),
            self.failure_digests.len() as u64,
        ] {
            write_varint(&mut out, value);
        }
        for digest in &self.failure_digests {
            out.extend_from_slice(&digest.to_le_bytes());
        }
        if let Some(chunk) = self.completed_set.first() {
            chunk.encode(0, &mut out);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != ENCODING_VERSION {
            return Err(Corrupt("it was written by an unknown version"));
        }
        let mut node = Self {
            own_complete: reader.varint()? != 0,
            own: reader.varint()?,
            total: reader.u32()?,
            seen: reader.u32()?,
            completed: reader.u32()?,
            completed_beyond: reader.u32()?,
            failed: reader.u32()?,
            failures: reader.varint()?,
            partial: reader.varint()?,
            partial_beyond: reader.varint()?,
            contribution: reader.varint()?,
            records: reader.u32()?,
            ..Self::default()
        };
        let digests = reader.u32()?;
        if digests as usize > FAILURES_PER_TASK_MAX {
            return Err(Corrupt("too many failures"));
        }
        for _ in 0..digests {
            let mut digest = [0; 8];
            for byte in &mut digest {
                *byte = reader.byte()?;
            }
            node.failure_digests.push(u64::from_le_bytes(digest));
        }
        let full = Percentage::FULL.steps();
        let sums_fit = node.own <= full
            && node.contribution <= full
            && node.completed_beyond <= node.completed
            && node.completed <= node.seen
            && node.seen <= crate::id::TASK_NUMBER_MAX
            && node.partial_beyond <= node.partial
            && node.partial <= u64::from(node.seen) * full;
        if !sums_fit {
            return Err(Corrupt("its counts contradict each other"));
        }
        if node.seen > 0 && !reader.is_empty() {
            node.completed_set.put(0, Chunk::decode(0, &mut reader)?);
        }
        Ok(node)
    }

    pub(crate) fn put_chunk(&mut self, index: u32, bytes: &[u8]) -> Result<(), Corrupt> {
        self.completed_set.put(index, Chunk::decode(index, &mut Reader::new(bytes))?);
        Ok(())
    }

    /// The node at `path` below this one, made if it is missing.
    pub(crate) fn at_mut(&mut self, path: &[u32]) -> &mut Self {
        path.iter().fold(self, |node, number| node.children.entry(*number).or_default())
    }

    pub(crate) fn at(&self, path: &[u32]) -> Option<&Self> {
        path.iter().try_fold(self, |node, number| node.children.get(number).map(|child| &**child))
    }

    /// Whether learning that `number` is the last child changes how children beyond it count.
    pub(crate) fn needs_recount(&self, number: u32) -> bool {
        number > self.total && self.seen > number
    }

    pub(crate) fn has_child_records(&self) -> bool {
        self.records > 0
    }

    pub(crate) fn drain(
        &mut self,
        path: &TaskPath,
        visit: &mut impl FnMut(&TaskPath, Vec<u8>, Vec<(u32, Vec<u8>)>),
    ) {
        // What changes below a task changes the task.
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        let record = self.encode();
        let chunks: Vec<_> = self
            .completed_set
            .drain_dirty()
            .map(|(index, chunk)| {
                let mut bytes = Vec::new();
                chunk.encode(index, &mut bytes);
                (index, bytes)
            })
            .collect();
        visit(path, record, chunks);
        for (number, child) in &mut self.children {
            child.drain(&path.child(*number).expect("stored paths are valid"), visit);
        }
    }

    /// Children with a bit or a record, ascending from the one after `after`.
    pub(crate) fn children_after(&self, after: u32) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.completed_set.numbers_after(after).collect();
        numbers.extend(self.children.range(after.saturating_add(1)..).map(|(number, _)| *number));
        numbers.sort_unstable();
        numbers
    }

    pub(crate) fn has_completed(&self, number: u32) -> bool {
        self.completed_set.contains(number)
    }

    /// Recomputes every derived number from the sets below, deepest first; `note` hears of each that was wrong.
    pub(crate) fn recount(
        &mut self,
        path: &TaskPath,
        note: &mut impl FnMut(&TaskPath, &'static str, u64, u64),
    ) {
        for (number, child) in &mut self.children {
            child.recount(&path.child(*number).expect("stored paths are valid"), note);
            self.dirty |= child.dirty;
        }
        let beyond = if self.total == 0 { 0 } else { self.completed_set.count_above(self.total) };
        let children = || self.children.values();
        let found = [
            ("completed", u64::from(self.completed), u64::from(self.completed_set.count())),
            ("completed beyond the total", u64::from(self.completed_beyond), u64::from(beyond)),
            ("failed", u64::from(self.failed), children().filter(|child| child.is_failed()).count() as u64),
            (
                "failures",
                self.failures,
                self.failure_digests.len() as u64 + children().map(|child| child.failures).sum::<u64>(),
            ),
            ("records", u64::from(self.records), children().len() as u64),
            ("partial", self.partial, children().map(|child| child.contribution).sum()),
            (
                "partial beyond the total",
                self.partial_beyond,
                self.children
                    .iter()
                    .filter(|(number, _)| self.is_beyond(**number))
                    .map(|(_, child)| child.contribution)
                    .sum(),
            ),
        ];
        for (name, stored, counted) in found {
            if stored != counted {
                note(path, name, stored, counted);
                self.dirty = true;
            }
        }
        let [completed, completed_beyond, failed, failures, records, partial, partial_beyond] =
            found.map(|(_, _, counted)| counted);
        let count = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        (self.completed, self.completed_beyond, self.failed) =
            (count(completed), count(completed_beyond), count(failed));
        self.records = count(records);
        (self.failures, self.partial, self.partial_beyond) = (failures, partial, partial_beyond);
        if path.depth() > 0 {
            let value = self.value().steps();
            if self.contribution != value {
                note(path, "contribution", self.contribution, value);
                (self.contribution, self.dirty) = (value, true);
            }
        }
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.completed_set.heap_bytes()
            + self.failure_digests.capacity() * 8
            + self.children.values().map(|child| size_of::<Self>() + 16 + child.heap_bytes()).sum::<usize>()
    }
}

/// FNV-1a over the members, each closed by a byte that UTF-8 never contains.
fn digest(failure: &Failure) -> u64 {
    let time = failure.time.as_millis().to_le_bytes();
    let parts = [failure.id.as_bytes(), &time, failure.source.as_bytes(), failure.message.as_bytes()];
    parts
        .into_iter()
        .flat_map(|part| part.iter().copied().chain([0xff]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
