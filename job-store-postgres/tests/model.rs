//! PostgreSQL and the memory store live the same random life.
//!
//! `JOB_CAMPAIGN=1` makes it a long one.

mod database;

use job_conformance::model::compare;
use job_store_memory::MemoryStore;

#[expect(clippy::disallowed_methods, reason = "a test may be told to search for longer")]
fn lives(few: u64, many: u64) -> u64 {
    if std::env::var_os("JOB_CAMPAIGN").is_some() { many } else { few }
}

async fn live(seeds: std::ops::Range<u64>, steps: usize) {
    for seed in seeds {
        let database = database::fresh().await;
        let store = database::connect(database.url()).await;
        compare(&MemoryStore::new(), &store, seed, steps)
            .await
            .unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[tokio::test]
async fn many_short_lives_are_the_same() {
    live(0..lives(6, 60), 120).await;
}

#[tokio::test]
async fn a_long_life_is_the_same() {
    live(1_000..1_000 + lives(1, 6), 1_000).await;
}
