//! Brokers for tests: the shared one with names that are cleaned up, and private ones that may be ill-treated.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use job_core::queue::{Consumer, Delivery, Publication, PublishOutcome, TaskQueue};
use job_core::{Clock, ClockExt, IdSource, RandomIds, SystemClock};
use job_queue_amqp::{AmqpOptions, AmqpQueue};
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use testkit::{RabbitOptions, RabbitServer};
use tokio::task::spawn_blocking;

/// Longer than anything healthy takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at something that no signal tells about.
const GLANCE: Duration = Duration::from_millis(5);

/// The broker of `AMQP_URL`, or one of this process.
pub async fn shared_url() -> String {
    spawn_blocking(|| testkit::rabbit().expect("RabbitMQ runs").to_owned()).await.unwrap()
}

/// Gives out names of queues that nobody else uses, and deletes these queues when it is dropped.
pub struct Names {
    url: String,
    prefix: String,
    given: Mutex<Vec<String>>,
}

impl Names {
    pub fn new(url: &str) -> Self {
        let prefix = format!("t-{}", RandomIds.next().simple());
        Self { url: url.to_owned(), prefix, given: Mutex::default() }
    }

    pub fn name(&self, suffix: &str) -> String {
        let mut given = self.given.lock().unwrap();
        let name = format!("{}-{}-{suffix}", self.prefix, given.len());
        given.push(name.clone());
        name
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        let url = self.url.clone();
        let names = std::mem::take(self.given.get_mut().unwrap());
        // A runtime of its own: this also runs while a test panics.
        #[expect(clippy::disallowed_methods, reason = "the runtime must not be nested in the test's")]
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
                let channel = connection.create_channel().await?;
                for name in names.into_iter().filter(|name| name.len() < 256) {
                    channel.queue_delete(name.into(), QueueDeleteOptions::default()).await?;
                }
                connection.close(200, "".into()).await?;
                anyhow::Ok(())
            })
        });
        let _ = deleting.join();
    }
}

/// A private broker.
#[derive(Clone)]
pub struct Broker(Arc<RabbitServer>);

impl Broker {
    pub async fn start() -> Self {
        Self::start_with(RabbitOptions::default()).await
    }

    pub async fn start_with(options: RabbitOptions) -> Self {
        let server = spawn_blocking(move || RabbitServer::start_with(&options)).await.unwrap();
        Self(Arc::new(server.expect("RabbitMQ runs")))
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    pub fn options(&self) -> AmqpOptions {
        AmqpOptions::from_uri(&self.url()).unwrap()
    }

    pub async fn connect(&self) -> AmqpQueue {
        AmqpQueue::connect(self.options()).await.unwrap()
    }

    /// A connection of the driver alone.
    pub async fn bare(&self) -> Connection {
        Connection::connect(&self.url(), ConnectionProperties::default()).await.unwrap()
    }

    pub async fn ctl<const N: usize>(&self, arguments: [&str; N]) -> String {
        let arguments = arguments.map(str::to_owned);
        self.with(move |server| {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            server.ctl(&arguments)
        })
        .await
    }

    pub async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&RabbitServer) -> anyhow::Result<T> + Send + 'static,
    ) -> T {
        let server = Arc::clone(&self.0);
        spawn_blocking(move || act(&server)).await.unwrap().unwrap()
    }
}

/// The output of `future`, which must come before the deadline.
pub async fn within<F>(what: &str, future: F) -> F::Output
where
    F: Future + Send,
    F::Output: Send,
{
    match SystemClock::new().timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

/// Looks again and again until the condition holds; how long that took.
pub async fn until<F>(what: &str, mut condition: impl FnMut() -> F) -> Duration
where
    F: Future<Output = bool>,
{
    let clock = SystemClock::new();
    let start = clock.now();
    while !condition().await {
        assert!(clock.now().since(start) < DEADLINE, "{what} did not happen within {DEADLINE:?}");
        clock.sleep(GLANCE).await;
    }
    clock.now().since(start)
}

pub async fn next(consumer: &mut Consumer) -> Delivery {
    within("a delivery", consumer.next()).await.expect("the stream goes on")
}

pub async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(next(consumer).await);
    }
    taken
}

pub fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.body).into_owned()
}

/// Publishes one message, which must be confirmed.
pub async fn put(queue: &dyn TaskQueue, name: &str, body: impl Into<bytes::Bytes>) {
    assert_eq!(publish_one(queue, name, body).await, PublishOutcome::Confirmed);
}

pub async fn publish_one(queue: &dyn TaskQueue, name: &str, body: impl Into<bytes::Bytes>) -> PublishOutcome {
    let publishing = queue.publish(vec![Publication::new(name, body)]);
    within("a publish", publishing).await.unwrap().remove(0)
}
