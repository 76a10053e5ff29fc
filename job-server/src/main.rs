//! The binary: reads the command line and runs what it names.

use std::process::ExitCode;

use job_server::config::CommandLine;

/// What the shell sees of a program that SIGPIPE ended.
const EXIT_BROKEN_PIPE: i32 = 141;

fn main() -> ExitCode {
    leave_when_nobody_reads();
    let line = CommandLine::read();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(job_server::run(line)));
    outcome.unwrap_or_else(|error| {
        eprintln!("job-server: {error:#}");
        ExitCode::from(2)
    })
}

/// A reader of standard output that has seen enough, such as `head`, ends the program, which is no defect of it and no
/// success either.
fn leave_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if text.starts_with("failed printing to stdout") && text.contains("Broken pipe") {
            std::process::exit(EXIT_BROKEN_PIPE);
        }
        usual(panic);
    }));
}
