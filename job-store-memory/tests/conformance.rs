//! The store suite, on the store itself and through what may stand in front of one.

use std::sync::Arc;

use job_conformance::faults::store::{FaultyStore, StoreFaults};
use job_conformance::store::{ForwardingStore, StoreHarness};
use job_core::store::JobStore;
use job_store_memory::MemoryStore;

struct Direct;

impl StoreHarness for Direct {
    type Guard = ();

    async fn start() -> (Arc<dyn JobStore>, ()) {
        (Arc::new(MemoryStore::new()), ())
    }
}

/// Behind another store, as an application may put one, to prove that the trait needs nothing but itself.
struct Forwarded;

impl StoreHarness for Forwarded {
    type Guard = ();

    async fn start() -> (Arc<dyn JobStore>, ()) {
        (Arc::new(ForwardingStore::new(Arc::new(MemoryStore::new()), ())), ())
    }
}

/// Answers late, so that calls made at the same time mix.
struct Hesitant;

impl StoreHarness for Hesitant {
    type Guard = ();

    async fn start() -> (Arc<dyn JobStore>, ()) {
        let faults = StoreFaults { delay: 500, ..StoreFaults::default() };
        (Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), faults, 1)), ())
    }
}

mod direct {
    use super::Direct;

    job_conformance::store_suite!(Direct);
}

mod forwarded {
    use super::Forwarded;

    job_conformance::store_suite!(Forwarded);
}

mod hesitant {
    use super::Hesitant;

    job_conformance::store_suite!(Hesitant);
}
