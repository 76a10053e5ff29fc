//! The command `verify`.
#![expect(clippy::print_stdout, reason = "the command speaks to whoever typed it")]

use std::process::ExitCode;

use clap::Args;
use job_core::store::{Drift, VerifyRequest};
use job_core::{JobId, PartitionId};

use super::open;
use crate::backends::StoreArguments;

/// Recount what is stored about jobs, and report what contradicts itself.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The partition to check.
    #[arg(long, value_name = "PARTITION")]
    partition: PartitionId,
    /// Check only this job.
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
    /// Correct what is wrong.
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    store: StoreArguments,
}

/// Checks; 0 when nothing is wrong or everything was corrected, 1 when something is wrong.
pub(crate) async fn run(arguments: &VerifyArguments) -> anyhow::Result<ExitCode> {
    let store = open(&arguments.store).await?;
    let request = VerifyRequest {
        partition: arguments.partition.clone(),
        job: arguments.job.clone(),
        repair: arguments.repair,
    };
    let drift = store.verify(&request).await?;
    for drift in &drift {
        println!("{}", line(drift));
    }
    let (sentence, code) = match (drift.len(), arguments.repair) {
        (0, _) => ("Nothing contradicts itself.".to_owned(), ExitCode::SUCCESS),
        (count, true) => (format!("{count} corrected."), ExitCode::SUCCESS),
        (count, false) => (format!("{count} wrong; --repair corrects them."), ExitCode::FAILURE),
    };
    println!("{sentence}");
    Ok(code)
}

fn line(drift: &Drift) -> String {
    let task = if drift.task.depth() == 0 { String::new() } else { format!(" task {}", drift.task) };
    format!(
        "{} job {}{task}: {} is {}, should be {}",
        drift.job.partition, drift.job.job, drift.what, drift.stored, drift.expected
    )
}
