//! The suite that every store passes, on PostgreSQL.

mod database;

use std::sync::Arc;

use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_conformance::store::StoreHarness;
use job_core::store::JobStore;
use testkit::TestDatabase;

struct Direct;

impl StoreHarness for Direct {
    type Guard = TestDatabase;

    async fn start() -> (Arc<dyn JobStore>, TestDatabase) {
        let database = database::fresh().await;
        (Arc::new(database::connect(database.url()).await), database)
    }
}

/// Answers late, so that calls made at the same time mix differently.
struct Hesitant;

impl StoreHarness for Hesitant {
    type Guard = TestDatabase;

    async fn start() -> (Arc<dyn JobStore>, TestDatabase) {
        let (store, database) = Direct::start().await;
        let faults = StoreFaults { delay: 500, ..StoreFaults::default() };
        (Arc::new(FaultyStore::new(store, faults, 1)), database)
    }
}

mod direct {
    use super::Direct;

    job_conformance::store_suite!(Direct);
}

mod hesitant {
    use super::Hesitant;

    job_conformance::store_suite!(Hesitant);
}
