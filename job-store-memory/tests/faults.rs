//! The fault-injecting wrapper, around a store that is known to be right.

use std::sync::Arc;

use job_conformance::faults::store::{FaultyStore, StoreFaultCounts, StoreFaults};
use job_conformance::store::fixture::{accept, at, job, key};
use job_core::store::{CreateOutcome, JobStore};
use job_store_memory::MemoryStore;

fn faulty(faults: StoreFaults, seed: u64) -> (Arc<dyn JobStore>, FaultyStore) {
    let inner: Arc<dyn JobStore> = Arc::new(MemoryStore::new());
    (Arc::clone(&inner), FaultyStore::new(inner, faults, seed))
}

/// Creates jobs one by one; which calls succeeded, and which jobs are there.
async fn campaign(faults: StoreFaults, seed: u64) -> (Vec<bool>, Vec<bool>, StoreFaultCounts) {
    let (inner, store) = faulty(faults, seed);
    let (mut answered, mut stored) = (Vec::new(), Vec::new());
    for n in 0..400 {
        let name = format!("j{n}");
        let result = store.create(vec![accept(job(&name))], at(1)).await;
        assert!(result.as_ref().err().is_none_or(job_core::Error::is_transient));
        answered.push(result.is_ok());
        stored.push(inner.get(&[key(&name)]).await.expect("the inner store does not fail")[0].is_some());
    }
    (answered, stored, store.counts())
}

#[tokio::test]
async fn a_call_that_fails_before_does_nothing() {
    let (answered, stored, counts) =
        campaign(StoreFaults { fail_before: 300, ..Default::default() }, 1).await;
    assert_eq!(answered, stored);
    let failed = answered.iter().filter(|ok| !**ok).count() as u64;
    assert_eq!((counts.calls, counts.failed_before, counts.failed_after), (400, failed, 0));
    assert!((60..180).contains(&failed), "{failed} of 400 at 30 %");
}

#[tokio::test]
async fn a_call_that_fails_after_has_done_everything() {
    let (answered, stored, counts) = campaign(StoreFaults { fail_after: 300, ..Default::default() }, 1).await;
    assert!(stored.iter().all(|stored| *stored));
    let failed = answered.iter().filter(|ok| !**ok).count() as u64;
    assert_eq!((counts.failed_before, counts.failed_after), (0, failed));
    assert!((60..180).contains(&failed), "{failed} of 400 at 30 %");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_faults() {
    let faults = StoreFaults { fail_before: 100, fail_after: 100, delay: 500 };
    assert_eq!(campaign(faults, 7).await, campaign(faults, 7).await);
    assert_ne!(campaign(faults, 7).await.0, campaign(faults, 8).await.0);
    assert!(campaign(faults, 7).await.2.delayed > 100);
}

#[tokio::test]
async fn calling_again_until_it_works_is_right() {
    let (_, store) = faulty(StoreFaults { fail_before: 400, fail_after: 400, delay: 200 }, 3);
    for n in 0..50 {
        let outcome = loop {
            if let Ok(outcomes) = store.create(vec![accept(job(&format!("j{n}")))], at(1)).await {
                break outcomes;
            }
        };
        assert!(matches!(outcome[0], CreateOutcome::Created | CreateOutcome::Unchanged));
    }
}

#[tokio::test]
async fn a_healed_store_does_not_fail() {
    let (_, store) = faulty(StoreFaults { fail_before: 1_000, ..Default::default() }, 1);
    assert!(store.ping().await.is_err());
    store.heal();
    for _ in 0..100 {
        store.ping().await.unwrap();
    }
    assert_eq!((store.counts().calls, store.counts().failed_before), (101, 1));
}
