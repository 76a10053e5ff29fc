//! An engine inside the application: one store, one queue, one worker, one job.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::time::Duration;

use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use job_core::{Engine, EngineSettings, JobKey, NewJob, TaskSpec};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;

struct Greeter;

impl Worker for Greeter {
    type Task = String;
    const KIND: &'static str = "Greeter";

    async fn run(&self, name: String, _: &TaskContext) -> WorkerResult {
        println!("Hello, {name}!");
        Ok(Outcome::done())
    }
}

#[tokio::main]
async fn main() -> Result<(), job_core::Error> {
    let engine =
        Engine::start(Arc::new(MemoryStore::new()), Arc::new(MemoryQueue::new()), EngineSettings::default());
    engine.host(engine.runner("greeter-in").register(Greeter).build()?);

    let key = JobKey::parse("acme", "hello")?;
    let task = TaskSpec::json("Greeter", "greeter-in", &"world")?;
    engine.service().create(NewJob::new(key.clone(), task).with_name("Greet the world")).await?;

    let job = engine.service().wait(&key, Duration::from_secs(10), Duration::from_millis(100)).await?;
    println!("{} is {} at {} %", job.key, job.status, job.percentage.rounded());
    engine.stop().await;
    Ok(())
}
