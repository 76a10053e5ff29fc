//! A wrapper that does nothing.

use std::sync::Arc;

use async_trait::async_trait;
use job_core::Result;
use job_core::queue::{ConsumeOptions, Consumer, Publication, PublishOutcome, TaskQueue};

/// Forwards every call. A backend that passes the suite behind it works for any wrapper's sake.
#[derive(Debug)]
pub struct ForwardingQueue(pub Arc<dyn TaskQueue>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TaskQueue for ForwardingQueue {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        self.0.publish(messages).await
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        self.0.consume(queue, options).await.map(Consumer::new)
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        self.0.declare(queue).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        self.0.depth(queue).await
    }

    fn is_durable(&self) -> bool {
        self.0.is_durable()
    }

    async fn ping(&self) -> Result<()> {
        self.0.ping().await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
