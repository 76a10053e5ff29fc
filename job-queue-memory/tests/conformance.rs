//! The suite that every queue passes: on the queue itself, through a wrapper, and through a fault injector at rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use job_conformance::faults::queue::{FaultyQueue, QueueFaultRates};
use job_conformance::queue::{ForwardingQueue, QueueHarness};
use job_core::queue::TaskQueue;
use job_queue_memory::{MemoryQueue, MemoryQueueOptions};

/// Queues of their own for each case, seen through some wrapper.
struct Harness {
    queue: MemoryQueue,
    wrap: fn(Arc<dyn TaskQueue>) -> Arc<dyn TaskQueue>,
    names: AtomicU64,
}

impl Harness {
    fn new(wrap: fn(Arc<dyn TaskQueue>) -> Arc<dyn TaskQueue>) -> Self {
        Self { queue: MemoryQueue::new(), wrap, names: AtomicU64::new(0) }
    }

    fn connect(&self) -> Arc<dyn TaskQueue> {
        (self.wrap)(Arc::new(self.queue.connect()))
    }

    fn connect_undeclaring(&self) -> Arc<dyn TaskQueue> {
        let options = MemoryQueueOptions { declare_on_publish: false, ..MemoryQueueOptions::default() };
        (self.wrap)(Arc::new(MemoryQueue::with_options(options)))
    }

    fn queue_name(&self, suffix: &str) -> String {
        format!("case-{}-{suffix}", self.names.fetch_add(1, Ordering::Relaxed))
    }
}

macro_rules! harness {
    ($name:ident, $wrap:expr) => {
        struct $name(Harness);

        #[async_trait]
        impl QueueHarness for $name {
            async fn start() -> Self {
                Self(Harness::new($wrap))
            }

            async fn connect(&self) -> Arc<dyn TaskQueue> {
                self.0.connect()
            }

            async fn connect_undeclaring(&self) -> Arc<dyn TaskQueue> {
                self.0.connect_undeclaring()
            }

            async fn delete_queue(&self, name: &str) {
                assert!(self.0.queue.delete_queue(name), "{name} is there");
            }

            fn queue_name(&self, suffix: &str) -> String {
                self.0.queue_name(suffix)
            }

            fn counts_redeliveries(&self) -> bool {
                true
            }
        }
    };
}

mod direct {
    use super::*;

    harness!(Direct, |queue| queue);
    job_conformance::queue_suite!(Direct);
}

mod forwarded {
    use super::*;

    harness!(Forwarded, |queue| Arc::new(ForwardingQueue(queue)));
    job_conformance::queue_suite!(Forwarded);
}

mod fault_injector_at_rest {
    use super::*;

    harness!(AtRest, |queue| {
        let queue = FaultyQueue::new(queue, 1, QueueFaultRates::all_allowed(500));
        queue.set_enabled(false);
        Arc::new(queue)
    });
    job_conformance::queue_suite!(AtRest);
}
