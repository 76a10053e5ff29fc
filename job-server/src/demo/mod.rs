//! The command `demo`: the whole engine at work on real texts, in one process that needs nothing else, or over a real
//! database and a real broker.
//!
//! A graph of jobs is submitted over HTTP to an API on a free loopback port, in-process workers perform it, and all that
//! is shown on screen is read back from the API. Nothing here is used by the server.

mod client;
mod corpus;
mod earlier_run;
mod failure_groups;
mod findings;
mod findings_file;
mod language;
mod observed_job;
mod screen;
mod stage;
mod synthetic;
mod synthetic_demo;
mod text;
mod text_demo;
mod text_workers;
mod words;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use job_core::Shutdown;
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogFormat;
use crate::logging;
use crate::server::drain::stop_on_signals;

/// What the exit code says about a command line that cannot be followed.
const EXIT_USAGE: u8 = 2;
/// The shell's convention for a process that ended because of Ctrl-C.
const EXIT_INTERRUPTED: u8 = 130;

/// Run a graph of jobs over a directory of texts, with live progress.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Directory of texts; the corpus inside this program when it is not given.
    #[arg(value_name = "DIR", conflicts_with = "synthetic")]
    pub directory: Option<PathBuf>,
    /// Which files under DIR to work on.
    #[arg(long, value_name = "PATTERN", default_value = "**/*.txt", conflicts_with = "synthetic")]
    pub glob: String,
    /// Work on N generated items instead of texts, split recursively: shows speed and flat memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub synthetic: Option<u64>,
    /// How many tasks of one kind run at once.
    #[arg(long, value_name = "N", default_value = "8", value_parser = parse_workers)]
    pub workers: NonZeroUsize,
    /// Keep the jobs in a database, `postgres://user:password@host:port/database`: a demo that is killed goes on when it is
    /// started again. Take one that no server works on.
    #[arg(long, value_name = "URL", default_value = "memory", hide_default_value = true)]
    pub store: String,
    /// Carry the messages by a broker, `amqp[s]://user:password@host:port/vhost`.
    #[arg(long, value_name = "URL", default_value = "memory", hide_default_value = true)]
    pub queue: String,
    /// Where findings are kept until there is a report, when jobs are kept in a database.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "job-service-demo.findings",
        conflicts_with = "synthetic"
    )]
    pub findings: PathBuf,
    /// Leave the API up at the end, until Ctrl-C.
    #[arg(long)]
    pub keep_serving: bool,
}

fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(workers) if workers <= NonZeroUsize::new(10_000).expect("not zero") => Ok(workers),
        _ => Err("expected a number from 1 to 10000".to_owned()),
    }
}

/// Runs the demo; 0 when it did all it should, 1 when it did not, 2 when the arguments make no sense.
///
/// # Errors
/// When the engine or its API could not be started, or the API stopped answering.
pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    logging::start(LevelFilter::ERROR, LevelFilter::OFF, LogFormat::Human, None)?;
    let interrupt = Shutdown::new();
    // Not one of the tasks that stopping waits for.
    let signals = Shutdown::new().spawn(stop_on_signals(interrupt.clone()));
    let code = match args.synthetic {
        Some(items) => synthetic_demo::run(items, &args, &interrupt).await,
        None => text_demo::run(&args, &interrupt).await,
    };
    signals.abort();
    code
}

/// A sentence for whoever typed the command.
fn usage_error(sentence: &str) -> ExitCode {
    eprintln!("job-server demo: {sentence}");
    ExitCode::from(EXIT_USAGE)
}
