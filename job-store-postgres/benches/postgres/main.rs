//! The figures of the PostgreSQL store, each beside the yardstick of the same run.
//!
//! `cargo bench -p job-store-postgres --bench postgres -- [section...]`; `--quick` for smaller numbers, `--once`
//! for a single run of each measurement instead of five, `--only=text` for the measurements of that name. Without `DATABASE_URL` a private server is started, with fsync on, 1 GB of shared buffers and 4 GB of WAL.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time and reads its environment")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

mod completions;
mod creation;
mod dispatch;
mod graphs;
mod reading;
mod setup;
mod yardstick;

use std::process::ExitCode;

use setup::{Bench, Scale};

const SECTIONS: [&str; 6] = ["completions", "creation", "prerequisites", "reading", "dispatch", "graphs"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let scale =
        if arguments.iter().any(|argument| argument == "--quick") { Scale::Quick } else { Scale::Full };
    let chosen: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(unknown) = chosen.iter().find(|section| !SECTIONS.contains(section)) {
        println!("There is no section {unknown:?}; there are {}.", SECTIONS.join(", "));
        return ExitCode::FAILURE;
    }
    let wanted = |section| chosen.is_empty() || chosen.contains(&section);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let repeats = if arguments.iter().any(|argument| argument == "--once") { 1 } else { 5 };
        let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only=")).map(str::to_owned);
        let bench = Bench::start(scale, repeats, only);
        if wanted("completions") {
            completions::run(&bench).await;
        }
        if wanted("creation") {
            creation::run(&bench).await;
        }
        if wanted("prerequisites") {
            creation::prerequisites(&bench).await;
        }
        if wanted("reading") {
            reading::run(&bench).await;
        }
        if wanted("dispatch") {
            dispatch::run(&bench).await;
        }
        if wanted("graphs") {
            graphs::run(&bench).await;
        }
    });
    ExitCode::SUCCESS
}
