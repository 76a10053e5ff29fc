//! A store that fails before and after it has done what was asked, a queue that loses confirms, repeats and delays, and
//! workers on a bad day, all at once. Then the faults end, and everything must be as if nothing had happened.

use std::sync::Arc;
use std::time::Duration;

use job_conformance::faults::queue::{FaultyQueue, QueueFaultRates};
use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_core::{EngineSettings, JobId, JobStatus};
use job_queue_memory::MemoryQueue;
use job_store_memory::MemoryStore;
use job_tests::scenario::Scenario;
use job_tests::unreliable::{Misbehaviour, Split};

/// More steps, and so more places where one can fail.
fn small_batches() -> EngineSettings {
    let mut settings = EngineSettings::default();
    if let Some(tracker) = &mut settings.tracker {
        tracker.batch.size = 8;
    }
    // A claim that took entries and then failed leaves them on lease.
    if let Some(dispatcher) = &mut settings.dispatcher {
        dispatcher.lease = Duration::from_millis(200);
    }
    settings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_survive_faults_in_every_part() {
    for seed in 0..6 {
        let faults = StoreFaults { fail_before: 150, fail_after: 150, delay: 200 };
        let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), faults, seed));
        let rates = QueueFaultRates { publish_fails_after_sending: 20, ..QueueFaultRates::all_allowed(20) };
        let queue = Arc::new(FaultyQueue::new(Arc::new(MemoryQueue::new()), seed, rates));
        let scenario = Scenario::start(
            Arc::clone(&store) as _,
            Arc::clone(&queue) as _,
            small_batches(),
            "split-in",
            Misbehaviour::BAD,
            3,
            seed,
        );
        let id = |name: String| JobId::new(name).unwrap();
        let mut jobs = Vec::new();
        for chain in 0..4 {
            let name = |step: u32| format!("c{chain}-s{step}");
            jobs.push(scenario.job("p", &name(0), &Split::new(20, 1)));
            jobs.push(scenario.job("p", &name(1), &Split::new(4, 2)).after([id(name(0))]));
            jobs.push(
                scenario.job("p", &name(2), &Split::new(0, 0)).after([id(name(1)), id("c0-s0".into())]),
            );
        }
        let keys = scenario.create(jobs).await;
        for job in scenario.finished(&keys).await {
            assert_eq!(job.status, JobStatus::Completed, "seed {seed}: {job:#?}");
        }
        let injected = (store.counts(), queue.counts());
        assert!(injected.0.failed_before > 0 && injected.0.failed_after > 0, "{injected:?}");
        assert!(injected.1.confirm_lost > 0 && injected.1.message_duplicated > 0, "{injected:?}");
        store.heal();
        queue.set_enabled(false);
        scenario.stop_and_verify(&["p"]).await;
    }
}
