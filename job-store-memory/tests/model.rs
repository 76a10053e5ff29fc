//! Two memory stores live the same random life; a store with a defect does not.

use std::sync::Arc;

use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_conformance::model::compare;
use job_store_memory::MemoryStore;

#[tokio::test]
async fn two_stores_live_the_same_life() {
    for seed in 0..60 {
        compare(&MemoryStore::new(), &MemoryStore::new(), seed, 300)
            .await
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[tokio::test]
async fn delays_do_not_matter() {
    for seed in 0..10 {
        let faults = StoreFaults { delay: 500, ..StoreFaults::default() };
        let hesitant = FaultyStore::new(Arc::new(MemoryStore::new()), faults, seed);
        compare(&MemoryStore::new(), &hesitant, seed, 100)
            .await
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[tokio::test]
async fn a_failing_store_is_found_out_and_the_seed_told() {
    let faults = StoreFaults { fail_before: 20, ..StoreFaults::default() };
    let faulty = FaultyStore::new(Arc::new(MemoryStore::new()), faults, 1);
    let difference = compare(&MemoryStore::new(), &faulty, 77, 300).await.unwrap_err();
    assert!(difference.starts_with("seed 77, step "), "{difference}");
}
