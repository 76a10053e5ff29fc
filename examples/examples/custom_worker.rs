//! Workers with typed payloads: one splits an album into pictures, the other one works on each, and a picture that
//! cannot be read fails without taking its neighbours with it.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::sync::Arc;
use std::time::Duration;

use job_core::worker::{Outcome, TaskContext, Worker, WorkerResult};
use job_core::{Engine, EngineSettings, JobKey, NewJob, TaskSpec};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Album {
    pictures: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Picture {
    name: String,
}

struct SplitAlbum;

impl Worker for SplitAlbum {
    type Task = Album;
    const KIND: &'static str = "SplitAlbum";

    async fn run(&self, album: Album, context: &TaskContext) -> WorkerResult {
        for name in album.pictures {
            // Published while the split goes on: an album of a million pictures needs no more memory than one of ten.
            context.subtask("pictures", Shrink::KIND, 1, &Picture { name }).await?;
        }
        Ok(Outcome::done())
    }
}

struct Shrink;

impl Worker for Shrink {
    type Task = Picture;
    const KIND: &'static str = "Shrink";

    async fn run(&self, picture: Picture, context: &TaskContext) -> WorkerResult {
        if !picture.name.ends_with(".jpg") {
            return Ok(Outcome::failed(format!("{} is not a picture", picture.name)));
        }
        // Half of the work is done: it counts in the job's percentage at once.
        context.progress(50.0);
        Ok(Outcome::done())
    }
}

#[tokio::main]
async fn main() -> Result<(), job_core::Error> {
    let engine =
        Engine::start(Arc::new(MemoryStore::new()), Arc::new(MemoryQueue::new()), EngineSettings::default());
    engine.host(engine.runner("albums").register(SplitAlbum).build()?);
    engine.host(engine.runner("pictures").register(Shrink).concurrency(4).build()?);

    let pictures = ["beach.jpg", "harbour.jpg", "notes.txt", "boat.jpg"].map(str::to_owned).to_vec();
    let key = JobKey::parse("acme", "holiday")?;
    let task = TaskSpec::json(SplitAlbum::KIND, "albums", &Album { pictures })?;
    engine.service().create(NewJob::new(key.clone(), task)).await?;

    // A failed subtask fails the job at once while the rest goes on: wait for the rest too.
    let job = loop {
        let job = engine.service().wait(&key, Duration::from_secs(10), Duration::from_millis(100)).await?;
        if job.subtasks.total.is_some_and(|total| total == job.subtasks.completed + job.subtasks.failed) {
            break job;
        }
        engine.clock().sleep(Duration::from_millis(10)).await;
    };
    println!("{} is {} at {} %", job.key, job.status, job.percentage.rounded());
    for failure in &job.failures {
        println!("failed: {}", failure.message);
    }
    engine.stop().await;
    Ok(())
}
