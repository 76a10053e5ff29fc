//! A queue that does something before it publishes.

use std::fmt;

use async_trait::async_trait;
use futures::future::BoxFuture;
use job_core::Result;
use job_core::queue::{ConsumeOptions, Consumer, Publication, PublishOutcome, TaskQueue};

type Hook = Box<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>;

/// Publishes when the hook lets it.
pub struct HookedQueue<Q> {
    inner: Q,
    before: Hook,
}

impl<Q> HookedQueue<Q> {
    /// A publish waits for what `before` returns, and fails with its error.
    pub fn new(
        inner: Q,
        before: impl Fn() -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, before: Box::new(before) }
    }
}

impl<Q: fmt::Debug> fmt::Debug for HookedQueue<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookedQueue").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl<Q: TaskQueue> TaskQueue for HookedQueue<Q> {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        (self.before)().await?;
        self.inner.publish(messages).await
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        self.inner.consume(queue, options).await
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        self.inner.declare(queue).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        self.inner.depth(queue).await
    }

    fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
