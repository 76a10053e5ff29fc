//! The command `prune`.
#![expect(clippy::print_stdout, reason = "the command speaks to whoever typed it")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use job_core::store::PruneRequest;
use job_core::{Clock as _, JobStatus, PartitionId, SystemClock, Timestamp};

use super::open;
use crate::backends::StoreArguments;
use crate::time_span;

/// Remove finished jobs that are old enough. It may be stopped and started again at any time.
#[derive(Debug, Args)]
pub struct PruneArguments {
    /// How long ago a job must have finished, such as `30d`, `12h` or `90m`.
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Duration,
    /// Only in this partition [default: in every one].
    #[arg(long, value_name = "PARTITION")]
    partition: Option<PartitionId>,
    /// Only jobs of these statuses, separated by commas.
    #[arg(long, value_name = "STATUS", value_delimiter = ',', default_value = "Completed,Failed,Cancelled")]
    status: Vec<JobStatus>,
    /// Only jobs with a label of this key.
    #[arg(long, value_name = "KEY")]
    label: Option<String>,
    /// How many are removed in one step.
    #[arg(long, value_name = "JOBS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    step: u32,
    #[command(flatten)]
    store: StoreArguments,
}

/// Removes jobs, a step at a time, until none is left.
pub(crate) async fn run(arguments: &PruneArguments) -> anyhow::Result<ExitCode> {
    if let Some(status) = arguments.status.iter().find(|status| !status.is_finished()) {
        anyhow::bail!("--status: a job that is {status} is not finished, and only finished ones are removed");
    }
    let now = SystemClock::new().now();
    let age = i64::try_from(arguments.older_than.as_millis()).ok();
    let finished_before = age.and_then(|age| now.as_millis().checked_sub(age)).map(Timestamp::from_millis);
    ensure!(
        finished_before.is_some_and(|time| time.as_millis() > 0),
        "--older-than: that is before there were any jobs"
    );
    let store = open(&arguments.store).await?;
    let request = PruneRequest {
        partition: arguments.partition.clone(),
        statuses: arguments.status.clone(),
        finished_before: finished_before.unwrap_or(now),
        label: arguments.label.clone(),
        limit: arguments.step,
    };
    let mut removed = 0;
    loop {
        let step = store.prune(&request).await?;
        removed += step;
        if step < u64::from(arguments.step) {
            println!("{removed} jobs removed.");
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn age(text: &str) -> Result<Duration, &'static str> {
    time_span::parse(text).ok_or("expected a number and a unit, such as 30d, 12h or 90m")
}
