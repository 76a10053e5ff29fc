//! A diamond of jobs: two wait for the first, the last one waits for both, one of them after a delay.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::time::Duration;

use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use job_core::{Engine, EngineSettings, JobId, JobKey, NewJob, TaskSpec};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;

struct Step;

impl Worker for Step {
    type Task = String;
    const KIND: &'static str = "Step";

    async fn run(&self, name: String, _: &TaskContext) -> WorkerResult {
        println!("doing {name}");
        Ok(Outcome::done())
    }
}

fn step(name: &str) -> Result<NewJob, job_core::Error> {
    Ok(NewJob::new(JobKey::parse("acme", name)?, TaskSpec::json(Step::KIND, "steps", &name)?))
}

#[tokio::main]
async fn main() -> Result<(), job_core::Error> {
    let engine =
        Engine::start(Arc::new(MemoryStore::new()), Arc::new(MemoryQueue::new()), EngineSettings::default());
    engine.host(engine.runner("steps").register(Step).build()?);

    // A job may wait for jobs that do not exist yet: the order of submission does not matter.
    let jobs = vec![
        step("deliver")?.after([JobId::new("bake")?, JobId::new("decorate")?]),
        step("bake")?.after([JobId::new("mix")?]),
        step("decorate")?.after([JobId::new("mix")?]).with_delay(Duration::from_secs(1)),
        step("mix")?,
    ];
    for outcome in engine.service().create_all(jobs).await? {
        outcome?;
    }

    // What would close a circle is refused, by name.
    let circle = step("mix2")?.after([JobId::new("mix2")?]);
    if let Err(error) = engine.service().create(circle).await {
        println!("refused: {}", error.message());
    }

    let last = JobKey::parse("acme", "deliver")?;
    let job = engine.service().wait(&last, Duration::from_secs(10), Duration::from_millis(100)).await?;
    println!("{} is {}", job.key, job.status);
    engine.stop().await;
    Ok(())
}
