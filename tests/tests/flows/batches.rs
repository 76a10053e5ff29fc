//! Batches and dependents with workers that crash, hang, repeat and reorder: every job finishes, and every count is exact.

use std::time::Duration;

use job_core::{Engine, JobId, JobStatus};
use job_tests::backends::Backends;
use job_tests::scenario::Scenario;
use job_tests::unreliable::{Misbehaviour, Split};
use job_tests::waiting::until;

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

pub async fn every_subtask_counts_exactly_once_whatever_the_workers_do(backends: &Backends) {
    for seed in 0..backends.seeds() {
        let scenario = Scenario::on(backends, Misbehaviour::BAD, seed).await;
        // The third is a batch nested three deep, the last one seven.
        let shapes =
            [Split::new(1, 1), Split::new(40, 1), Split::new(6, 3), Split::new(0, 1), Split::new(2, 7)];
        let name = |index| format!("job-{seed}-{index}");
        let jobs = shapes.iter().enumerate().map(|(i, split)| scenario.job("p", &name(i), split)).collect();
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

pub async fn failures_are_healed_by_completions_and_kept_without_them(backends: &Backends) {
    let scenario = Scenario::on(backends, Misbehaviour::BAD, 7).await;
    let heals = Split { fails_first: 30, ..Split::new(10, 2) };
    let fails = Split { fails_for_good: true, ..Split::new(5, 2) };
    let jobs = vec![scenario.job("p", "heals", &heals), scenario.job("p", "fails", &fails)];
    let keys = scenario.create(jobs).await;
    let service = scenario.engine.service();
    // A job that failed goes on: wait until it has counted all it ever will.
    until("healed", async || service.status(&keys[0]).await.unwrap() == JobStatus::Completed).await;
    until("all failures", async || {
        let job = service.get(&keys[1]).await.unwrap();
        (job.subtasks.failed, job.failure_count, job.subtasks.completed) == (5, 5, 1)
    })
    .await;
    let healed = service.get(&keys[0]).await.unwrap();
    assert_eq!((healed.failure_count, healed.failures.len()), (0, 0));
    let failed = service.get(&keys[1]).await.unwrap();
    assert_eq!(failed.status, JobStatus::Failed);
    assert!(failed.failures.iter().all(|failure| failure.message == "boom"));
    scenario.stop_and_verify(&["p"]).await;
}

pub async fn dependents_start_in_order_after_their_delay_and_once(backends: &Backends) {
    let scenario = Scenario::on(backends, Misbehaviour::BAD, 11).await;
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

pub async fn two_servers_share_the_work(backends: &Backends) {
    // They share the jobs and the queues, and nothing else.
    let (store, queue) = backends.server().await;
    let beside = Engine::start(store, queue, backends.settings());
    let scenario = Scenario::on(backends, Misbehaviour::BAD, 5).await;
    let shapes = [Split::new(6, 3), Split::new(40, 1), Split::new(0, 0), Split::new(3, 4)];
    let jobs = vec![
        scenario.job("p", "nested", &shapes[0]),
        scenario.job("p", "flat", &shapes[1]).after([id("nested")]),
        scenario.job("p", "single", &shapes[2]).after([id("nested"), id("flat")]),
        scenario.job("q", "deep", &shapes[3]).with_delay(Duration::from_secs(1)),
    ];
    let keys = scenario.create(jobs).await;
    let jobs = scenario.finished(&keys).await;
    for job in &jobs {
        assert_eq!((job.status, job.percentage.hundredths()), (JobStatus::Completed, 10_000), "{job:#?}");
    }
    for (before, after) in [(&jobs[0], &jobs[1]), (&jobs[1], &jobs[2])] {
        // Each server has a clock of its own, and the last digit of two clocks may differ.
        let started = after.start_time.unwrap().saturating_add(Duration::from_millis(1));
        assert!(started >= before.finish_time.unwrap(), "{before:#?}\n{after:#?}");
    }
    let tracked = beside.tracked().unwrap();
    assert!(beside.stop().await);
    let counts = scenario.stop_and_verify(&["p", "q"]).await;
    let counted = counts.counted + tracked.borrow().counted;
    assert_eq!(counted, shapes.iter().map(Split::completions).sum::<u64>(), "each completion exactly once");
}
