//! A worker in a process of its own, beside others on a RabbitMQ queue, in Rust or Java.
//!
//!     cargo run -p job-examples --example worker_process -- \
//!         --queue amqp://guest:guest@localhost:5672 --input words-in --service http://localhost:8080
//!
//! It takes tasks of the kind `CountWords`, asks the Job Service over HTTP whether their jobs are still wanted, puts those
//! of paused jobs on the paused queue, and reports. The variables of a CAF worker's container (`CAF_WORKER_INPUT_QUEUE`,
//! `CAF_WORKER_THREADS`, ...) are honoured. SIGTERM lets the tasks in hand finish, hands back the rest and ends.
#![expect(clippy::print_stdout, reason = "a process that an operator watches")]

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use job_core::queue::TaskQueue;
use job_core::worker::{Outcome, Runner, RunnerSettings, TaskContext, Worker, WorkerResult, input_queue};
use job_core::{Clock, Error, Shutdown, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use job_worker_http::HttpStatus;
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

/// Longer than the runner gives its tasks.
const STOP_LIMIT: Duration = Duration::from_secs(40);

#[derive(Debug, Parser)]
struct Arguments {
    /// The broker: `amqp[s]://user:password@host:port/vhost`.
    #[arg(long, env = "AMQP_URL", hide_env_values = true)]
    queue: String,
    /// The queue to serve [default: what the variables of a CAF worker say].
    #[arg(long)]
    input: Option<String>,
    /// A Job Service that may be asked for the status of jobs; repeat it for more.
    #[arg(long, env = "CAF_WEBSERVICE_URL", required = true)]
    service: Vec<String>,
    /// Where the tasks of paused jobs go.
    #[arg(long, env = "CAF_WORKER_PAUSED_QUEUE", default_value = "jobservice-paused-in")]
    paused_queue: String,
}

#[derive(Deserialize)]
struct Text {
    text: String,
}

struct CountWords;

impl Worker for CountWords {
    type Task = Text;
    const KIND: &'static str = "CountWords";

    async fn run(&self, task: Text, context: &TaskContext) -> WorkerResult {
        println!("{}: {} words", context.task_id(), task.text.split_whitespace().count());
        Ok(Outcome::done())
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    #[expect(clippy::disallowed_methods, reason = "the program's own door to the environment")]
    let variable = |name: &str| std::env::var(name).ok();
    let input = arguments.input.or_else(|| input_queue(&variable));
    let input = input
        .ok_or_else(|| Error::invalid("which queue to serve? pass --input or set CAF_WORKER_INPUT_QUEUE"))?;

    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    // It connects in the background, and again whenever the connection is lost.
    let queue: Arc<dyn TaskQueue> = Arc::new(AmqpQueue::start(&AmqpOptions::from_uri(&arguments.queue)?));
    let settings = RunnerSettings {
        paused_queue: Some(arguments.paused_queue),
        ..RunnerSettings::from_variables(&variable)?
    };
    let runner = Runner::builder(Arc::clone(&queue), &input)
        .settings(settings)
        .status(HttpStatus::asking(arguments.service, Arc::clone(&clock))?)
        .clock(Arc::clone(&clock))
        .register(CountWords)
        .build()?;

    let shutdown = Shutdown::new();
    let monitor = runner.monitor();
    runner.start(&shutdown);
    println!("serving {input}");
    let stop = |kind| signal(kind).map_err(|error| Error::unavailable(format!("no signals: {error}")));
    let (mut terminate, mut interrupt) = (stop(SignalKind::terminate())?, stop(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let finished = shutdown.drain(clock.as_ref(), STOP_LIMIT).await;
    queue.close().await;
    println!("stopped {}: {:?}", if finished { "in order" } else { "too early" }, monitor.counts());
    Ok(())
}
