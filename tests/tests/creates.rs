//! Creates that share steps of the store.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use job_conformance::store::{Call, ForwardingStore, StoreHook};
use job_core::{ClockExt as _, JobKey, JobService, NewJob, Result, Shutdown, SystemClock, TaskSpec};
use job_store_memory::MemoryStore;
use tokio::sync::Notify;

/// Only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(10);

fn job(name: &str) -> NewJob {
    NewJob::new(JobKey::parse("acme", name).unwrap(), TaskSpec::json("W", "w-in", &()).unwrap())
}

/// Holds up steps of several jobs, as a lost connection does or a lock that is not to be had.
#[derive(Default)]
struct HoldsUpSeveral {
    held: Notify,
    free: Notify,
}

#[async_trait]
impl StoreHook for HoldsUpSeveral {
    async fn before(&self, call: Call<'_>) -> Result<()> {
        if let Call::Create(jobs) = call
            && jobs.len() > 1
        {
            self.held.notify_one();
            self.free.notified().await;
        }
        Ok(())
    }
}

/// One alone does not wait until as many have come as are in a step that does not end.
#[tokio::test]
async fn a_step_that_is_held_up_holds_up_no_other_for_long() {
    let store = Arc::new(ForwardingStore::new(Arc::new(MemoryStore::new()), HoldsUpSeveral::default()));
    let clock = Arc::new(SystemClock::new());
    let service = JobService::new(Arc::clone(&store) as _).with_clock(Arc::clone(&clock) as _);
    let tasks = Shutdown::new();
    let together = {
        let service = service.clone();
        tasks.spawn(async move { join_all(["a", "b", "c", "d"].map(|name| service.create(job(name)))).await })
    };
    store.held.notified().await;
    for name in ["e", "f"] {
        let created = clock.timeout(PATIENCE, service.create(job(name))).await;
        created.expect("it does not wait for the others").unwrap();
    }
    store.free.notify_one();
    for created in together.await.unwrap() {
        created.unwrap();
    }
}
