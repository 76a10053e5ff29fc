//! The binary: reads the command line and runs what it names.

use std::process::ExitCode;

use job_server::config::CommandLine;

fn main() -> ExitCode {
    let line = CommandLine::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(job_server::run(line)));
    outcome.unwrap_or_else(|error| {
        eprintln!("job-server: {error:#}");
        ExitCode::from(2)
    })
}
