//! A job of any number of generated items, split recursively, to show speed and flat memory.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use job_core::worker::batch::{BatchError, BatchPlugin, BatchServices};
use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};

/// The batch type of [`RangeSplitter`].
pub(super) const RANGE_BATCH: &str = "Range";

/// How many items a batch has, unless there would be too many batches.
const ITEMS_PER_BATCH: u64 = 1_000;

/// How many batches a job is split into at most. They wait on the queue that their own splitter consumes: more of them
/// than it holds, and the splitter would wait for itself.
const BATCHES_MAX: u64 = 10_000;

/// Splits `0..1000000 by 1000` into a thousand batches, and `0..1000` into a thousand items.
#[derive(Debug)]
pub(super) struct RangeSplitter;

#[async_trait]
impl BatchPlugin for RangeSplitter {
    fn name(&self) -> &str {
        RANGE_BATCH
    }

    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
        let range: Range = definition.parse().map_err(BatchError::definition)?;
        match range.step {
            None => {
                for item in range.first..range.end {
                    services.register_item_subtask(ItemWorker::KIND, 1, &item).await?;
                }
            }
            Some(step) => {
                for part in range.parts(step) {
                    services.register_batch_subtask(part.to_string()).await?;
                }
            }
        }
        Ok(())
    }
}

/// The numbers from `first` up to but not including `end`, to be split into batches of `step`, or into items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    first: u64,
    end: u64,
    step: Option<NonZeroU64>,
}

impl Range {
    /// Of so many items, in batches when there is more than one batch's worth.
    pub(super) fn of(items: u64) -> Self {
        let step = ITEMS_PER_BATCH.max(items.div_ceil(BATCHES_MAX));
        Self { first: 0, end: items, step: NonZeroU64::new(step).filter(|step| step.get() < items) }
    }

    /// How many batches it is split into; none when into items.
    pub(super) fn batches(self) -> Option<u64> {
        self.step.map(|step| (self.end - self.first).div_ceil(step.get()))
    }

    fn parts(self, step: NonZeroU64) -> impl Iterator<Item = Self> {
        let starts = std::iter::successors(Some(self.first), move |start| start.checked_add(step.get()));
        starts.take_while(move |first| *first < self.end).map(move |first| Self {
            first,
            end: first.saturating_add(step.get()).min(self.end),
            step: None,
        })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.first, self.end)?;
        self.step.map_or(Ok(()), |step| write!(f, " by {step}"))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (range, step) = match text.split_once(" by ") {
            Some((range, step)) => (range, Some(step.parse().ok())),
            None => (text, None),
        };
        let ends = range.split_once("..").and_then(|(first, end)| first.parse().ok().zip(end.parse().ok()));
        match (ends, step) {
            (Some((first, end)), None) if first <= end => Ok(Self { first, end, step: None }),
            (Some((first, end)), Some(Some(step))) if first <= end => {
                Ok(Self { first, end, step: Some(step) })
            }
            _ => Err(format!("{text:?} is not a range such as 0..1000 or 0..1000000 by 1000")),
        }
    }
}

/// What was worked on so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    items: AtomicU64,
    sum: AtomicU64,
}

impl Tally {
    pub(super) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// The sum of all items: what one lost or doubled item would show in.
    pub(super) fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }
}

/// Adds its item to the tally.
#[derive(Debug)]
pub(super) struct ItemWorker(pub(super) Arc<Tally>);

impl Worker for ItemWorker {
    type Task = u64;

    const KIND: &'static str = "Item";

    async fn run(&self, item: u64, _: &TaskContext) -> WorkerResult {
        self.0.items.fetch_add(1, Ordering::Relaxed);
        self.0.sum.fetch_add(item, Ordering::Relaxed);
        Ok(Outcome::done())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_the_range_without_gaps_and_fit_their_queue() {
        for items in [1_001, 2_000, 999_999, 1_000_000, 1_000_001, 10_000_001, 1_000_000_000] {
            let range = Range::of(items);
            let parts: Vec<_> = range.parts(range.step.unwrap()).collect();
            assert_eq!(Some(parts.len() as u64), range.batches());
            assert!(parts.len() as u64 <= BATCHES_MAX, "{items}: {}", parts.len());
            assert_eq!((parts[0].first, parts[parts.len() - 1].end), (0, items));
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].first), "{items}");
            assert!(parts.iter().all(|part| part.first < part.end && part.step.is_none()), "{items}");
        }
        assert_eq!(Range::of(1_000_000).batches(), Some(1_000));
        assert_eq!(Range::of(1_000).batches(), None);
    }

    #[test]
    fn definitions_are_read_as_they_are_written() {
        for items in [1, 1_000, 1_001, 1_000_000] {
            let range = Range::of(items);
            assert_eq!(range.to_string().parse(), Ok(range));
        }
        for wrong in ["", "3", "9..3", "a..b", "-1..3", "0..9 by 0", "0..9 by", "0..9 by x"] {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }
}
