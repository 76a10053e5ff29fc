//! The demo on generated items.
#![expect(clippy::print_stdout, reason = "the demo speaks to whoever started it")]

use std::process::ExitCode;
use std::sync::Arc;

use job_core::worker::batch::{BATCH_KIND, BatchWorker};
use job_core::{Clock as _, Shutdown, SystemClock};
use job_queue_memory::{MemoryQueue, MemoryQueueOptions};
use job_store_memory::MemoryStore;
use serde_json::json;

use super::earlier_run::{Beginning, begin};
use super::observed_job::ObservedJob;
use super::stage::{Stage, Watched, host, open_queue, open_store};
use super::synthetic::{ItemWorker, RANGE_BATCH, Range, RangeSplitter, Tally};
use super::{DemoArgs, EXIT_INTERRUPTED};
use crate::memory_use::peak_resident_bytes;
use crate::table::grouped;

const JOB: &str = "synthetic";
const SPLIT_QUEUE: &str = "demo-split";
const ITEM_QUEUE: &str = "demo-items";

/// Messages a queue holds: what bounds the memory, whatever the number of items. A splitter that is ahead waits.
const QUEUE_MESSAGES_MAX: usize = 20_000;

/// Splits a job into `items` and has them performed; 1 when anything did not add up.
pub(super) async fn run(items: u64, args: &DemoArgs, interrupt: &Shutdown) -> anyhow::Result<ExitCode> {
    let options =
        MemoryQueueOptions { capacity_messages: QUEUE_MESSAGES_MAX, ..MemoryQueueOptions::default() };
    let queue = open_queue(args)?;
    // Neither a broker nor an earlier demo repeats a task.
    let is_alone = queue.is_none();
    let queue = queue.unwrap_or_else(|| Arc::new(MemoryQueue::with_options(options)));
    let store = open_store(args).await?.unwrap_or_else(|| Arc::new(MemoryStore::new()));
    let tally = Arc::new(Tally::default());
    let worker = ItemWorker(Arc::clone(&tally));
    let workers = args.workers.get();
    let stage = Stage::start(store, queue, |engine| {
        // One is enough to keep the items' queue full.
        host(engine, SPLIT_QUEUE, 1, |runner| {
            runner.register(BatchWorker::new().with_plugin(RangeSplitter))
        })?;
        host(engine, ITEM_QUEUE, workers, |runner| runner.register(worker))?;
        Ok(())
    })
    .await?;
    println!("{} items; the job is at {}", grouped(items), stage.client.job_url(JOB));
    let range = Range::of(items);
    let clock = SystemClock::new();
    let started = clock.now();
    let note = |_: &ObservedJob| {
        let rate = rate(tally.items(), clock.now().since(started).as_secs_f64());
        format!("{} items, {}/s", grouped(tally.items()), grouped(rate))
    };
    let play = async {
        let beginning = begin(&stage.client, &[(JOB, job(range))], clock.now(), || Ok(())).await?;
        let watched = stage.watch(vec![stage.observed(JOB).with_guess(guess(range))], note).await?;
        anyhow::Ok((beginning, watched))
    };
    let (beginning, watched) = tokio::select! {
        watched = play => watched?,
        () = interrupt.stopping() => {
            println!("Interrupted after {} items", grouped(tally.items()));
            stage.stop().await;
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
    };
    let seconds = clock.now().since(started).as_secs_f64();
    println!();
    println!(
        "{} items in {seconds:.1} s: {} items/s",
        grouped(tally.items()),
        grouped(rate(tally.items(), seconds))
    );
    if let Some(bytes) = peak_resident_bytes() {
        println!("Peak memory of the whole process: {} MiB", bytes.div_ceil(1024 * 1024));
    }
    let is_exact = is_alone && beginning == Beginning::Anew;
    let faults = faults(items, &tally, &watched, is_exact);
    for fault in &faults {
        println!("Wrong: {fault}.");
    }
    if args.keep_serving {
        stage.serve_on(interrupt).await;
    }
    stage.stop().await;
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What two batches are worth: the one in the splitter's hands, and the one whose end may not be recorded yet.
fn guess(range: Range) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most ten thousand")]
    range.batches().map_or(0.0, |batches| 200.0 / batches as f64)
}

fn job(range: Range) -> serde_json::Value {
    json!({
        "name": "Synthetic items",
        "task": {
            "taskClassifier": BATCH_KIND,
            "taskApiVersion": 1,
            "taskData": {
                "batchDefinition": range.to_string(),
                "batchType": RANGE_BATCH,
                "targetPipe": ITEM_QUEUE,
            },
            "taskPipe": SPLIT_QUEUE,
        },
    })
}

fn rate(items: u64, seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a figure for people"
    )]
    let rate = (items as f64 / seconds.max(0.001)) as u64;
    rate
}

/// What should not have happened, in sentences.
fn faults(items: u64, tally: &Tally, watched: &Watched, is_exact: bool) -> Vec<String> {
    let mut faults: Vec<String> = watched.falls.iter().map(ToString::to_string).collect();
    for job in watched.jobs.iter().filter(|job| !job.is_completed()) {
        let status = job.latest.as_ref().map_or("unknown", |answer| answer.status.as_str());
        faults.push(format!("the job ended as {status}"));
    }
    // The queue in the process hands a message out again only when its consumer is lost, and none is here.
    if is_exact && (tally.items(), tally.sum()) != (items, sum_below(items)) {
        faults.push(format!("{} items were worked on, and their sum is {}", tally.items(), tally.sum()));
    }
    faults
}

/// 0 + 1 + ... + (items - 1), wrapping as the tally does.
fn sum_below(items: u64) -> u64 {
    let (even, other) = if items.is_multiple_of(2) {
        (items / 2, items.wrapping_sub(1))
    } else {
        (items.wrapping_sub(1) / 2, items)
    };
    even.wrapping_mul(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact() {
        for items in [1, 2, 3, 10, 1_001] {
            assert_eq!(sum_below(items), (0..items).sum::<u64>());
        }
    }
}
