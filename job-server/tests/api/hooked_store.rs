//! A store in which a test can hold up, fail or break what is done with single jobs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use job_conformance::store::{Call, ForwardingStore, StoreHook};
use job_core::{AcceptedJob, Clock as _, Error, ErrorKind, JobKey, Result, SystemClock};
use job_store_memory::MemoryStore;
use tokio::sync::Semaphore;

pub(crate) type HookedStore = ForwardingStore<Hooks>;

/// What happens to reads and creates of these job ids: `held` waits for a permit of [`Hooks::gate`], `down` fails for
/// now and `refused` for good, and `broken` panics.
pub(crate) struct Hooks {
    pub(crate) gate: Semaphore,
    /// One permit for each read that came to the gate.
    pub(crate) arrived: Semaphore,
    /// One permit for each read that went through it.
    pub(crate) passed: Semaphore,
    pub(crate) ping_error: AtomicBool,
    /// How many creates of ids that begin with `slow` go on at once, and how long each takes.
    slow: (Semaphore, Duration),
    /// How many jobs each create held.
    pub(crate) creates: Mutex<Vec<usize>>,
}

impl Hooks {
    pub(crate) fn store() -> Arc<HookedStore> {
        Self::store_with_creates(1, Duration::ZERO)
    }

    /// Creates `places` jobs at once, each in `work`, when their ids begin with `slow`.
    pub(crate) fn store_with_creates(places: usize, work: Duration) -> Arc<HookedStore> {
        let hooks = Self {
            gate: Semaphore::new(0),
            arrived: Semaphore::new(0),
            passed: Semaphore::new(0),
            ping_error: AtomicBool::new(false),
            slow: (Semaphore::new(places), work),
            creates: Mutex::default(),
        };
        Arc::new(ForwardingStore::new(Arc::new(MemoryStore::new()), hooks))
    }

    async fn pass(&self, id: &str) -> Result<()> {
        match id {
            "held" => {
                self.arrived.add_permits(1);
                self.gate.acquire().await.unwrap().forget();
                self.passed.add_permits(1);
                Ok(())
            }
            "down" => Err(Error::unavailable("the store cannot be reached")
                .with_source("connection refused by 10.0.0.1")),
            "refused" => Err(Error::new(ErrorKind::Internal, "the store cannot keep this")),
            "broken" => panic!("a defect with a secret"),
            _ => Ok(()),
        }
    }

    async fn pass_all(&self, keys: impl Iterator<Item = &JobKey> + Send) -> Result<()> {
        for key in keys {
            self.pass(key.job.as_str()).await?;
        }
        Ok(())
    }

    async fn create(&self, jobs: &[AcceptedJob]) -> Result<()> {
        self.creates.lock().unwrap().push(jobs.len());
        self.pass_all(jobs.iter().map(|job| &job.job.key)).await?;
        let slow = jobs.iter().filter(|job| job.job.key.job.as_str().starts_with("slow"));
        futures::future::join_all(slow.map(|_| async {
            let _place = self.slow.0.acquire().await.unwrap();
            SystemClock::new().sleep(self.slow.1).await;
        }))
        .await;
        Ok(())
    }
}

#[async_trait]
impl StoreHook for Hooks {
    async fn before(&self, call: Call<'_>) -> Result<()> {
        match call {
            Call::Create(jobs) => self.create(jobs).await,
            Call::Get(keys) => self.pass_all(keys.iter()).await,
            // Of many steps each comes to the gate.
            Call::ActOnSelected(partition) if partition.as_str() == "slow" => self.pass("held").await,
            Call::Overview | Call::Ping if self.ping_error.load(Ordering::SeqCst) => {
                Err(Error::unavailable("the store cannot be reached"))
            }
            _ => Ok(()),
        }
    }
}
