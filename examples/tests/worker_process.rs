//! The example's process against a server and RabbitMQ: it works, asks over HTTP, puts paused tasks aside, and stops.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use job_core::queue::TaskQueue;
use job_core::store::Action;
use job_core::{
    Clock, IdSource as _, JobKey, JobService, JobStatus, NewJob, RandomIds, Shutdown, SystemClock, TaskSpec,
};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use job_server::{App, Config};
use job_store_memory::MemoryStore;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The example's process; it is killed with the test.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        // Cargo builds examples beside the tests, and names their place nowhere.
        let tests = std::env::current_exe().unwrap();
        let program = tests.parent().unwrap().parent().unwrap().join("examples/worker_process");
        let mut command = Command::new(&program);
        // Settings of whoever runs the tests must not reach it.
        command.env_clear().env("CAF_WORKER_THREADS", "2").args(arguments).stdout(Stdio::piped());
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display())))
    }

    /// Asks it to stop; what it wrote, if it ended in order.
    fn terminate(mut self) -> String {
        let status = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        let mut written = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_to_string(&mut written).unwrap();
        assert!(self.0.wait().unwrap().success(), "{written}");
        written
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn create(service: &JobService, name: &str, queue: &str) -> JobKey {
    let key = JobKey::parse("acme", name).unwrap();
    let task = TaskSpec::json("CountWords", queue, &json!({ "text": "three little words" })).unwrap();
    service.create(NewJob::new(key.clone(), task)).await.unwrap();
    key
}

async fn finished(service: &JobService, key: &JobKey) -> JobStatus {
    service.wait(key, PATIENCE, Duration::from_secs(1)).await.unwrap().status
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::new();
    let start = clock.now();
    while !holds().await {
        assert!(clock.now().since(start) < PATIENCE, "still not: {what}");
        clock.sleep(POLL).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_a_queue_and_heeds_what_the_service_says() {
    let url = tokio::task::spawn_blocking(|| testkit::rabbit().unwrap().to_owned()).await.unwrap();
    let queue: Arc<dyn TaskQueue> =
        Arc::new(AmqpQueue::connect(AmqpOptions::from_uri(&url).unwrap()).await.unwrap());
    let prefix = format!("worker-process-{}", RandomIds.next().simple());
    let (input, paused) = (format!("{prefix}-in"), format!("{prefix}-paused"));
    let config = Config {
        tracking_queue: format!("{prefix}-tracking"),
        paused_queue: paused.clone(),
        // Workers ask before every task.
        status_check_interval: Duration::ZERO,
        ..Config::default()
    };
    let app = App::build(config, Arc::new(MemoryStore::new()), Arc::clone(&queue)).await.unwrap();
    let service = app.engine().service().clone();
    let address = format!("http://{}", app.address().unwrap());
    let (shutdown, serving) = (Shutdown::new(), Shutdown::new());
    serving.spawn(app.run(shutdown.clone()));

    // Both wait on the queue when the worker comes: one of them is not wanted now, the other not any more.
    let held = create(&service, "held", &input).await;
    let cancelled = create(&service, "cancelled", &input).await;
    until("two tasks wait", async || queue.depth(&input).await.unwrap() == Some(2)).await;
    service.act(&held, Action::Pause).await.unwrap();
    service.act(&cancelled, Action::Cancel).await.unwrap();
    let arguments = ["--queue", &url, "--input", &input, "--service", &address, "--paused-queue", &paused];
    let process = Process::start(&arguments);
    for number in 0..10 {
        let key = create(&service, &format!("job{number}"), &input).await;
        assert_eq!(finished(&service, &key).await, JobStatus::Completed);
    }
    assert_eq!(service.status(&held).await.unwrap(), JobStatus::Paused);
    service.act(&held, Action::Resume).await.unwrap();
    assert_eq!(finished(&service, &held).await, JobStatus::Completed);
    assert_eq!(service.status(&cancelled).await.unwrap(), JobStatus::Cancelled);

    let written = tokio::task::spawn_blocking(move || process.terminate()).await.unwrap();
    let counts = written.lines().last().unwrap();
    assert!(counts.starts_with("stopped in order"), "{written}");
    for expected in ["succeeded: 11", "failed: 0", "paused: 1", "discarded: 1", "set_aside: 0"] {
        assert!(counts.contains(expected), "{counts}");
    }
    assert_eq!(written.lines().filter(|line| line.ends_with(": 3 words")).count(), 11, "{written}");
    for name in [&input, &paused] {
        assert_eq!(queue.depth(name).await.unwrap(), Some(0), "{name}");
    }
    shutdown.stop();
    assert!(serving.drain(&SystemClock::new(), PATIENCE).await);
}

#[test]
fn without_a_queue_it_says_what_it_needs() {
    let mut process = Process::start(&["--queue", "amqp://localhost", "--service", "http://localhost"]);
    assert!(!process.0.wait().unwrap().success());
    let mut process =
        Process::start(&["--queue", "amqp://localhost", "--service", "nowhere", "--input", "x"]);
    assert!(!process.0.wait().unwrap().success());
    let output = BufReader::new(process.0.stdout.take().unwrap()).lines().count();
    assert_eq!(output, 0, "it does not pretend to serve");
}
