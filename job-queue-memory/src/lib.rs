//! A [`TaskQueue`](job_core::queue::TaskQueue) in the memory of the process.
//!
//! It keeps a broker's guarantees, except that nothing outlives the process: an unsettled delivery comes back when it
//! is dropped, when its consumer goes away and when its connection closes; consumers take turns, each within its
//! prefetch; a queue that is full refuses what comes next instead of blocking or forgetting.
//!
//! ```
//! use futures::StreamExt;
//! use job_core::queue::{ConsumeOptions, Publication, PublishOutcome, TaskQueue};
//! use job_queue_memory::MemoryQueue;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> job_core::Result<()> {
//! let queue = MemoryQueue::new();
//! let outcomes = queue.publish(vec![Publication::new("images", "{}")]).await?;
//! assert_eq!(outcomes, [PublishOutcome::Confirmed]);
//!
//! let mut consumer = queue.consume("images", ConsumeOptions { prefetch: 10 }).await?;
//! if let Some(delivery) = consumer.next().await {
//!     assert_eq!(delivery.body, "{}");
//!     delivery.ack().await?;
//! }
//! # Ok(())
//! # }
//! ```

mod broker;
mod consumer;
mod contents;
mod message;
mod options;
mod queue;
mod slots;

pub use options::MemoryQueueOptions;
pub use queue::MemoryQueue;
