//! A queue whose calls are measured.

use std::sync::Arc;

use async_trait::async_trait;
use job_core::Result;
use job_core::queue::{ConsumeOptions, Consumer, Publication, PublishOutcome, TaskQueue};

use super::spans;
use super::timed::{Names, timed};

const NAMES: Names = Names {
    backend: "queue",
    durations: "job_service_queue_call_duration_seconds",
    errors: "job_service_queue_call_errors_total",
};

/// Hands every call on, and measures those that ask the broker for something.
#[derive(Debug)]
pub(crate) struct ObservedQueue(pub(crate) Arc<dyn TaskQueue>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TaskQueue for ObservedQueue {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        let spans: Vec<_> = messages.iter().map(spans::message).collect();
        let outcomes = timed(NAMES, "publish", self.0.publish(messages)).await?;
        for (span, outcome) in spans.iter().zip(&outcomes) {
            spans::published(span, outcome);
        }
        Ok(outcomes)
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        timed(NAMES, "consume", self.0.consume(queue, options)).await
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        timed(NAMES, "declare", self.0.declare(queue)).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        timed(NAMES, "depth", self.0.depth(queue)).await
    }

    fn is_durable(&self) -> bool {
        self.0.is_durable()
    }

    async fn ping(&self) -> Result<()> {
        timed(NAMES, "ping", self.0.ping()).await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
