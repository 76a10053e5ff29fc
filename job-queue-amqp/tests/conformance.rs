//! The suite that every queue passes, on a real RabbitMQ, with each type of queue.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broker;

use std::sync::Arc;

use async_trait::async_trait;
use job_conformance::queue::QueueHarness;
use job_core::queue::TaskQueue;
use job_queue_amqp::{AmqpOptions, AmqpQueue, QueueType};
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};

use broker::Names;

/// Queues of their own for each case on the shared broker; deleted afterwards.
struct Harness {
    names: Names,
    options: AmqpOptions,
}

impl Harness {
    async fn start(queue_type: QueueType) -> Self {
        let url = broker::shared_url().await;
        let options = AmqpOptions::from_uri(&url).unwrap().with_queue_type(queue_type);
        Self { names: Names::new(&url), options }
    }

    async fn delete_queue(&self, name: &str) {
        let url = broker::shared_url().await;
        let operator = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
        let channel = operator.create_channel().await.unwrap();
        channel.queue_delete(name.into(), QueueDeleteOptions::default()).await.unwrap();
        operator.close(200, "".into()).await.unwrap();
    }

    async fn connect(&self, options: AmqpOptions) -> Arc<dyn TaskQueue> {
        Arc::new(AmqpQueue::connect(options).await.unwrap())
    }
}

macro_rules! harness {
    ($name:ident, $queue_type:expr, $counts:expr) => {
        struct $name(Harness);

        #[async_trait]
        impl QueueHarness for $name {
            async fn start() -> Self {
                Self(Harness::start($queue_type).await)
            }

            async fn connect(&self) -> Arc<dyn TaskQueue> {
                self.0.connect(self.0.options.clone()).await
            }

            async fn connect_undeclaring(&self) -> Arc<dyn TaskQueue> {
                self.0.connect(self.0.options.clone().with_declare_on_publish(false)).await
            }

            async fn delete_queue(&self, name: &str) {
                self.0.delete_queue(name).await;
            }

            // A quorum queue is deleted in the background; see `queue_troubles.rs` for what its consumers do.
            fn deletes_at_once(&self) -> bool {
                $queue_type == QueueType::Classic
            }

            fn queue_name(&self, suffix: &str) -> String {
                self.0.names.name(suffix)
            }

            fn counts_redeliveries(&self) -> bool {
                $counts
            }
        }
    };
}

mod quorum {
    use super::*;

    harness!(Quorum, QueueType::Quorum, true);
    job_conformance::queue_suite!(Quorum);
}

mod classic {
    use super::*;

    harness!(Classic, QueueType::Classic, false);
    job_conformance::queue_suite!(Classic);
}
