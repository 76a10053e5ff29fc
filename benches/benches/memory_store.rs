//! The memory store: recording, reading, creating with prerequisites, fan-in and fan-out.
#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use std::sync::Arc;

use bytes::Bytes;
use job_benches::measure;
use job_core::progress::ReportEvent;
use job_core::store::{JobStore, TaskReport};
use job_core::{AcceptedJob, Fingerprint, JobId, JobKey, NewJob, TaskId, TaskPath, TaskSpec, Timestamp};
use job_store_memory::MemoryStore;
use tokio::runtime::Runtime;
use uuid::Uuid;

const ROUNDS: usize = 5;
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

fn key(job: &str) -> JobKey {
    JobKey::parse("bench", job).expect("valid")
}

fn accepted(job: NewJob) -> AcceptedJob {
    AcceptedJob { fingerprint: Fingerprint::of_job(&job), task_id: Uuid::nil(), suspended: false, job }
}

fn new_job(job: &str) -> NewJob {
    let task = TaskSpec {
        classifier: "W".into(),
        api_version: 1,
        data: Bytes::from_static(b"{}"),
        queue: "w-in".into(),
        target: None,
    };
    NewJob::new(key(job), task)
}

fn complete(job: &JobKey, number: u32, last: bool) -> TaskReport {
    let task = TaskId::new(TaskPath::root()).child(number, last).expect("valid");
    TaskReport { job: job.clone(), task, event: ReportEvent::Complete }
}

fn complete_job(job: &str) -> TaskReport {
    TaskReport { job: key(job), task: TaskId::root(), event: ReportEvent::Complete }
}

fn recording(runtime: &Runtime, count: u32) -> f64 {
    let job = key("big");
    let batches: Vec<Vec<TaskReport>> = (1..=count)
        .map(|number| complete(&job, number, number == count))
        .collect::<Vec<_>>()
        .chunks(1_000)
        .map(<[TaskReport]>::to_vec)
        .collect();
    let setup = || {
        let store = MemoryStore::new();
        runtime.block_on(store.create(vec![accepted(new_job("big"))], NOW)).expect("created");
        store
    };
    let measured = measure(
        &format!("record in batches of 1,000, N = {count}"),
        u64::from(count),
        ROUNDS,
        setup,
        |store| {
            runtime.block_on(async {
                for batch in &batches {
                    store.record(batch, NOW).await.expect("recorded");
                }
                let stored = store.get(&[key("big")]).await.expect("read").pop().flatten().expect("there");
                assert_eq!(stored.percentage.hundredths(), 10_000, "every completion must be there");
            });
        },
    );
    measured.per_second()
}

fn with_jobs(runtime: &Runtime, count: usize) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    for first in (0..count).step_by(10_000) {
        let jobs =
            (first..count.min(first + 10_000)).map(|i| accepted(new_job(&format!("other-{i}")))).collect();
        runtime.block_on(store.create(jobs, NOW)).expect("created");
    }
    store
}

fn creating(runtime: &Runtime, others: usize) -> f64 {
    let store = with_jobs(runtime, others);
    let batch = std::cell::Cell::new(0);
    let prerequisite = JobId::new("other-0").expect("valid");
    let make = || {
        let round = batch.replace(batch.get() + 1);
        let job = |i| accepted(new_job(&format!("new-{round}-{i}")).after([prerequisite.clone()]));
        (0..10_000).map(job).collect::<Vec<_>>()
    };
    let name = format!("create with one prerequisite, {others} jobs present");
    let measured = measure(&name, 10_000, ROUNDS, make, |jobs| {
        runtime.block_on(async {
            for job in jobs.drain(..) {
                store.create(vec![job], NOW).await.expect("created");
            }
        });
    });
    measured.per_second()
}

fn reading(runtime: &Runtime) {
    for count in [10_000, 1_000_000] {
        let job = key("big");
        let store = MemoryStore::new();
        runtime.block_on(store.create(vec![accepted(new_job("big"))], NOW)).expect("created");
        let reports: Vec<TaskReport> = (1..=count).map(|number| complete(&job, number, false)).collect();
        runtime.block_on(store.record(&reports, NOW)).expect("recorded");
        measure(
            &format!("get a job with {count} completions"),
            100_000,
            ROUNDS,
            || (),
            |()| {
                runtime.block_on(async {
                    for _ in 0..100_000 {
                        store.get(std::slice::from_ref(&job)).await.expect("read");
                    }
                });
            },
        );
    }
}

fn fans(runtime: &Runtime) {
    const WIDTH: usize = 10_000;
    let names: Vec<JobId> = (0..WIDTH).map(|i| JobId::new(format!("p-{i}")).expect("valid")).collect();
    let fan_in = || {
        let store = MemoryStore::new();
        let parts = names.iter().map(|name| accepted(new_job(name.as_str()))).collect();
        runtime.block_on(store.create(parts, NOW)).expect("created");
        runtime
            .block_on(store.create(vec![accepted(new_job("last").after(names.clone()))], NOW))
            .expect("created");
        let reports: Vec<TaskReport> = names.iter().map(|name| complete_job(name.as_str())).collect();
        (store, reports)
    };
    measure(
        "fan-in: complete 10,000 prerequisites of one job",
        WIDTH as u64,
        ROUNDS,
        fan_in,
        |(store, reports)| {
            for batch in reports.chunks(1_000) {
                runtime.block_on(store.record(batch, NOW)).expect("recorded");
            }
        },
    );
    let fan_out = || {
        let store = MemoryStore::new();
        runtime.block_on(store.create(vec![accepted(new_job("first"))], NOW)).expect("created");
        let first = JobId::new("first").expect("valid");
        let parts =
            names.iter().map(|name| accepted(new_job(name.as_str()).after([first.clone()]))).collect();
        runtime.block_on(store.create(parts, NOW)).expect("created");
        store
    };
    measure("fan-out: release 10,000 dependents of one job", WIDTH as u64, ROUNDS, fan_out, |store| {
        let recorded = runtime.block_on(store.record(&[complete_job("first")], NOW)).expect("recorded");
        assert_eq!(recorded.released_due, Some(NOW));
    });
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let rates: Vec<f64> = [10_000, 100_000, 1_000_000].map(|count| recording(&runtime, count)).to_vec();
    println!("rate at N = 10^6 to N = 10^4: {:.2}", rates[2] / rates[0]);
    reading(&runtime);
    let rates: Vec<f64> = [1_000, 1_000_000].map(|others| creating(&runtime, others)).to_vec();
    println!("create at 10^6 jobs to 10^3 jobs: {:.2}", rates[1] / rates[0]);
    fans(&runtime);
}
