//! Workers that crash, hang, repeat and reorder: every job finishes, and every count is exact.

use std::sync::Arc;
use std::time::Duration;

use job_core::{EngineSettings, JobId, JobStatus};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use job_tests::scenario::Scenario;
use job_tests::unreliable::{Misbehaviour, Split};

fn scenario(misbehaviour: Misbehaviour, seed: u64) -> Scenario {
    let (store, queue) = (Arc::new(MemoryStore::new()), Arc::new(MemoryQueue::new()));
    Scenario::start(store, queue, EngineSettings::default(), "split-in", misbehaviour, 4, seed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subtask_counts_exactly_once_whatever_the_workers_do() {
    for seed in 0..5 {
        let scenario = scenario(Misbehaviour::BAD, seed);
        let shapes =
            [Split::new(1, 1), Split::new(40, 1), Split::new(6, 3), Split::new(0, 1), Split::new(2, 7)];
        let jobs = shapes
            .iter()
            .enumerate()
            .map(|(i, split)| scenario.job("p", &format!("job-{i}"), split))
            .collect();
        let keys = scenario.create(jobs).await;
        for job in scenario.finished(&keys).await {
            assert_eq!(job.status, JobStatus::Completed, "seed {seed}: {job:#?}");
            assert_eq!(job.percentage.hundredths(), 10_000);
            assert_eq!(job.failures, []);
        }
        let counts = scenario.stop_and_verify(&["p"]).await;
        assert_eq!(counts.counted, shapes.iter().map(Split::completions).sum::<u64>(), "seed {seed}");
        assert_eq!(counts.refused, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_healed_by_completions_and_kept_without_them() {
    let scenario = scenario(Misbehaviour::BAD, 7);
    let heals = Split { fails_first: 30, ..Split::new(10, 2) };
    let fails = Split { fails_for_good: true, ..Split::new(5, 2) };
    let jobs = vec![scenario.job("p", "heals", &heals), scenario.job("p", "fails", &fails)];
    let keys = scenario.create(jobs).await;
    let service = scenario.engine.service();
    // A job that failed goes on: wait until it has counted all it ever will.
    let healed = async {
        loop {
            let job =
                service.wait(&keys[0], Duration::from_secs(60), Duration::from_millis(20)).await.unwrap();
            if job.status == JobStatus::Completed {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    let failed = async {
        loop {
            let job = service.get(&keys[1]).await.unwrap();
            if job.subtasks.failed == 5 && job.failure_count == 5 && job.subtasks.completed == 1 {
                return job;
            }
            tokio::task::yield_now().await;
        }
    };
    let (healed, failed) = futures::join!(healed, failed);
    assert_eq!((healed.failure_count, healed.failures.len()), (0, 0));
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.failures.iter().all(|failure| failure.message == "boom"));
    scenario.stop_and_verify(&["p"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_start_in_order_and_once() {
    let scenario = scenario(Misbehaviour::BAD, 11);
    let id = |name: &str| JobId::new(name).unwrap();
    let split = Split::new(8, 2);
    let jobs = vec![
        scenario.job("p", "last", &split).after([id("left"), id("right")]),
        scenario.job("p", "left", &split).after([id("first")]),
        scenario.job("p", "right", &split).after([id("first")]).with_delay(Duration::from_secs(1)),
        scenario.job("p", "first", &split),
    ];
    let keys = scenario.create(jobs).await;
    let jobs = scenario.finished(&keys).await;
    let [last, left, right, first] = &jobs[..] else { panic!("four jobs") };
    assert!(jobs.iter().all(|job| job.status == JobStatus::Completed));
    assert!(left.start_time >= first.finish_time && right.start_time >= first.finish_time);
    assert!(last.start_time >= left.finish_time.max(right.finish_time));
    let waited = right.start_time.unwrap().since(first.finish_time.unwrap());
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    scenario.stop_and_verify(&["p"]).await;
}
