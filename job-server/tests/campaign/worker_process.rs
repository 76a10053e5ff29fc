//! A worker in a process of its own, which may be killed.
//!
//! It is this test binary once more, told by its arguments to be a worker. What it gets it writes to its standard output
//! before it does anything: what is in the pipe outlives it.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use job_core::{Shutdown, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue};

use crate::ledger::{Diary, Ledger};
use crate::rig::PATIENCE;
use crate::workers::Worker;

const BROKER: &str = "JOB_CAMPAIGN_WORKER_BROKER";
const INPUT: &str = "JOB_CAMPAIGN_WORKER_INPUT";
/// Begin the lines that are meant for the driver; others are the test runner's.
const RECEIVED: &str = "received\t";
const KEPT: &str = "kept\t";
const WRONG: &str = "wrong\t";

/// A running worker; killed with this value.
#[derive(Debug)]
pub(crate) struct WorkerProcess(Child);

impl WorkerProcess {
    pub(crate) fn start(broker: &str, input: &str, ledger: &Arc<Ledger>) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "worker_process::a_process_and_no_test", "--ignored", "--nocapture"])
            .env(BROKER, broker)
            .env(INPUT, input)
            // It ends with its parent.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let ledger = Arc::clone(ledger);
        // Ends with the process' last word.
        Shutdown::new().spawn_blocking(move || read(stdout, &ledger));
        Self(child)
    }

    /// SIGKILL; returns when the process is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(stdout: ChildStdout, ledger: &Ledger) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if let Some(what) = line.strip_prefix(WRONG) {
            ledger.wrong(what.to_owned());
        }
        if let Some(task) = line.strip_prefix(KEPT) {
            ledger.kept(task);
        }
        let Some(received) = line.strip_prefix(RECEIVED) else { continue };
        match received.split('\t').collect::<Vec<_>>()[..] {
            [task, id, redelivered] => ledger.received(task, id, redelivered == "true"),
            _ => ledger.wrong(format!("a worker said {line}")),
        }
    }
}

/// To the parent.
#[derive(Debug)]
struct StandardOutput;

impl StandardOutput {
    /// A short line is written whole or not at all.
    fn tell(line: &str) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    }
}

impl Diary for StandardOutput {
    fn received(&self, task: &str, id: &str, is_redelivered: bool) {
        Self::tell(&format!("{RECEIVED}{task}\t{id}\t{is_redelivered}\n"));
    }

    fn kept(&self, task: &str) {
        Self::tell(&format!("{KEPT}{task}\n"));
    }

    fn wrong(&self, what: String) {
        Self::tell(&format!("{WRONG}{}\n", what.replace('\n', " ")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of a campaign"]
async fn a_process_and_no_test() {
    #[expect(clippy::disallowed_methods, reason = "the door between the two processes")]
    let variable = |name| std::env::var(name).expect("started by a campaign");
    // Ends the line that the test runner may have begun.
    StandardOutput::tell("\n");
    let options = AmqpOptions::from_uri(&variable(BROKER)).unwrap();
    let worker = Worker {
        queue: Arc::new(AmqpQueue::start(&options)),
        input: variable(INPUT),
        diary: Arc::new(StandardOutput),
    };
    let workers = Shutdown::new();
    workers.spawn(worker.run(workers.clone()));
    let until_the_end = Shutdown::new().spawn_blocking(|| io::copy(&mut io::stdin(), &mut io::sink()));
    until_the_end.await.unwrap().unwrap();
    assert!(workers.drain(&SystemClock::new(), PATIENCE).await, "it hangs");
}
