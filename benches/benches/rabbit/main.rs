//! The figures of messaging: RabbitMQ and PostgreSQL together, each beside the yardstick of the same run.
//!
//! `cargo bench -p job-benches --bench rabbit -- [section...]`; `--quick` for smaller numbers, `--rounds=N` instead of
//! five, `--only=text` for the measurements of that name. A private broker and a private database are started, the
//! latter with fsync on, 1 GB of shared buffers and 4 GB of WAL. The section `memory` runs `job-server`, and has cargo
//! build it first.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock and its command line, and its output is its purpose"
)]

mod bare;
mod dispatch;
mod latency;
mod memory;
mod queue;
mod reports;
mod setup;
mod table;
mod whole_job;

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use setup::Bench;

const SECTIONS: [&str; 6] = ["queue", "reports", "whole-job", "dispatch", "latency", "memory"];

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let value = |name: &str| arguments.iter().find_map(|argument| argument.strip_prefix(name));
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = chosen.iter().find(|section| !SECTIONS.contains(section)) {
        bail!("There is no section {unknown:?}; there are {}.", SECTIONS.join(", "));
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let rounds: usize = value("--rounds=").map_or(Ok(5), str::parse).context("--rounds is a number")?;
    let wanted = |section| chosen.is_empty() || chosen.contains(&section);
    let server = if wanted("memory") { Some(memory::build_server()?) } else { None };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let bench = Bench::start(is_quick, rounds.max(1), value("--only=").map(str::to_owned)).await?;
        if wanted("queue") {
            queue::run(&bench).await?;
        }
        if wanted("reports") {
            reports::run(&bench).await?;
        }
        if wanted("whole-job") {
            whole_job::run(&bench).await?;
        }
        if wanted("dispatch") {
            dispatch::run(&bench).await?;
        }
        if wanted("latency") {
            latency::run(&bench).await?;
        }
        if let Some(server) = &server {
            memory::run(&bench, server).await?;
        }
        Ok(ExitCode::SUCCESS)
    })
}
