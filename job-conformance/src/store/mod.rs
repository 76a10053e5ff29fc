//! The suite for [`JobStore`].
//!
//! A case is an async function named after the law it checks; it is given a fresh, empty store. Time is what the cases
//! say it is, so nothing ever sleeps. A backend's test file names its harness:
//!
//! ```no_run
//! use std::sync::Arc;
//! use job_conformance::store::StoreHarness;
//! use job_core::store::JobStore;
//! # fn my_store() -> job_conformance::faults::store::FaultyStore { unimplemented!() }
//!
//! struct Mine;
//!
//! impl StoreHarness for Mine {
//!     type Guard = ();
//!
//!     async fn start() -> (Arc<dyn JobStore>, ()) {
//!         (Arc::new(my_store()), ())
//!     }
//! }
//!
//! job_conformance::store_suite!(Mine);
//! ```

#![expect(
    clippy::unwrap_used,
    reason = "a case is a test, though the compiler does not know: a failing store fails it"
)]

use std::sync::Arc;

use job_core::store::JobStore;

pub use forwarding::{Call, ForwardingStore, StoreHook};

pub mod actions;
pub mod bulk;
pub mod concurrency;
pub mod count;
pub mod create;
pub mod delay;
pub mod dependencies;
pub mod failures;
pub mod filter;
pub mod fixture;
mod forwarding;
pub mod identity;
pub mod invariants;
pub mod isolation;
pub mod lease;
pub mod list;
pub mod outbox;
pub mod overview;
pub mod progress;
pub mod prune;
pub mod read;
pub mod record;
pub mod redispatch;
pub mod seeded;
pub mod stow;
mod suite;
pub mod suspension;
pub mod verify;

/// Where a backend's suite gets its stores from.
pub trait StoreHarness {
    /// What keeps the store alive, such as a database of its own; dropped when the case is over.
    type Guard: Send;

    /// A fresh, empty store.
    fn start() -> impl Future<Output = (Arc<dyn JobStore>, Self::Guard)> + Send;
}
