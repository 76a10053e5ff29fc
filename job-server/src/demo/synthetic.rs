//! A job of any number of generated items, split recursively, to show speed and flat memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use job_core::worker::batch::{BatchError, BatchPlugin, BatchServices};
use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};

/// The batch type of [`RangeSplitter`].
pub(super) const RANGE_BATCH: &str = "Range";

/// Into how many parts a range is split, and how many items a part has at most.
const FAN_OUT: u64 = 1_000;

/// Splits `first..end` into smaller ranges, and small ranges into items.
#[derive(Debug)]
pub(super) struct RangeSplitter;

#[async_trait]
impl BatchPlugin for RangeSplitter {
    fn name(&self) -> &str {
        RANGE_BATCH
    }

    async fn process(&self, services: &BatchServices<'_>, definition: &str) -> Result<(), BatchError> {
        let (first, end) = parse_range(definition).ok_or_else(|| {
            BatchError::definition(format!("{definition:?} is not a range such as 0..1000"))
        })?;
        if end - first <= FAN_OUT {
            for item in first..end {
                services.register_item_subtask(ItemWorker::KIND, 1, &item).await?;
            }
        } else {
            for (first, end) in parts(first, end) {
                services.register_batch_subtask(range(first, end)).await?;
            }
        }
        Ok(())
    }
}

/// The definition of a batch of all numbers from `first` up to but not including `end`.
pub(super) fn range(first: u64, end: u64) -> String {
    format!("{first}..{end}")
}

fn parse_range(definition: &str) -> Option<(u64, u64)> {
    let (first, end) = definition.split_once("..")?;
    let (first, end) = (first.parse().ok()?, end.parse().ok()?);
    (first <= end).then_some((first, end))
}

/// Parts as large as a power of the fan-out, so that the tree is as flat as it can be and its leaves are full.
fn parts(first: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut size = FAN_OUT;
    while (end - first).div_ceil(size) > FAN_OUT {
        size = size.saturating_mul(FAN_OUT);
    }
    std::iter::successors(Some(first), move |start| start.checked_add(size).filter(|start| *start < end))
        .map(move |start| (start, start.saturating_add(size).min(end)))
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
    fn parts_cover_the_range_without_gaps() {
        for end in [1_001, 2_000, 999_999, 1_000_000, 1_000_001, 3_000_000_000] {
            let parts: Vec<_> = parts(0, end).collect();
            assert!(parts.len() as u64 <= FAN_OUT, "{end}: {}", parts.len());
            assert_eq!((parts[0].0, parts[parts.len() - 1].1), (0, end));
            assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0), "{end}");
            assert!(parts.iter().all(|(first, end)| first < end));
        }
        assert_eq!(parts(5, 1_006).collect::<Vec<_>>(), [(5, 1_005), (1_005, 1_006)]);
    }

    #[test]
    fn ranges_are_read_and_written() {
        assert_eq!(parse_range(&range(3, 9)), Some((3, 9)));
        for wrong in ["", "3", "9..3", "a..b", "-1..3"] {
            assert_eq!(parse_range(wrong), None, "{wrong}");
        }
    }
}
