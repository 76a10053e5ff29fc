//! A store in memory that says how often it was asked for counts and statuses, and can be held up or fail when it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use job_conformance::store::{Call, ForwardingStore, StoreHook};
use job_core::{Error, Result};
use job_store_memory::MemoryStore;
use tokio::sync::Semaphore;

pub(crate) type WatchedStore = ForwardingStore<Watch>;

pub(crate) struct Watch {
    counts: AtomicUsize,
    pub(crate) statuses: AtomicUsize,
    /// Whether counting, and reading statuses, fails.
    pub(crate) is_silent: AtomicBool,
    /// What a count needs a permit of.
    pub(crate) gate: Semaphore,
}

impl Watch {
    /// A store of which each count takes one of `permits`.
    pub(crate) fn store_with_permits(permits: usize) -> Arc<WatchedStore> {
        let watch = Self {
            counts: AtomicUsize::new(0),
            statuses: AtomicUsize::new(0),
            is_silent: AtomicBool::new(false),
            gate: Semaphore::new(permits),
        };
        Arc::new(ForwardingStore::new(Arc::new(MemoryStore::new()), watch))
    }

    pub(crate) fn counts(&self) -> usize {
        self.counts.load(Ordering::SeqCst)
    }

    fn answers(&self) -> Result<()> {
        if self.is_silent.load(Ordering::SeqCst) {
            return Err(Error::unavailable("the store cannot be reached"));
        }
        Ok(())
    }
}

#[async_trait]
impl StoreHook for Watch {
    async fn before(&self, call: Call<'_>) -> Result<()> {
        match call {
            Call::Statuses(_) => {
                self.statuses.fetch_add(1, Ordering::SeqCst);
                self.answers()
            }
            Call::Count(_) => {
                self.counts.fetch_add(1, Ordering::SeqCst);
                self.gate.acquire().await.unwrap().forget();
                self.answers()
            }
            _ => Ok(()),
        }
    }
}
