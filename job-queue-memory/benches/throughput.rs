//! What the queue in memory carries on one core: publish, deliver and settle, in batches and one by one.

use divan::Bencher;
use divan::counter::ItemsCount;
use futures::StreamExt;
use job_core::queue::{ConsumeOptions, Consumer, Delivery, Publication, Settlement, TaskQueue};
use job_queue_memory::MemoryQueue;
use tokio::runtime::{Builder, Runtime};

const BATCH: usize = 1_000;
const BODY: &[u8] = &[b'x'; 512];

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime without drivers starts")
}

async fn consumer(queue: &MemoryQueue) -> Consumer {
    queue.consume("q", ConsumeOptions { prefetch: 2_000 }).await.expect("an open queue is consumed")
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    consumer.take(count).collect().await
}

fn publications(count: usize) -> Vec<Publication> {
    (0..count).map(|_| Publication::new("q", BODY)).collect()
}

#[divan::bench]
fn batches(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let queue = MemoryQueue::new();
    let mut consumer = runtime.block_on(consumer(&queue));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        runtime.block_on(async {
            queue.publish(publications(BATCH)).await.expect("the queue is open");
            let deliveries = take(&mut consumer, BATCH).await;
            Delivery::settle_all(deliveries, Settlement::Ack).await.expect("the queue is open");
        });
    });
}

#[divan::bench]
fn one_by_one(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let queue = MemoryQueue::new();
    let mut consumer = runtime.block_on(consumer(&queue));
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        runtime.block_on(async {
            for _ in 0..BATCH {
                queue.publish(publications(1)).await.expect("the queue is open");
                let delivery = consumer.next().await.expect("the queue is open");
                delivery.ack().await.expect("the queue is open");
            }
        });
    });
}

/// A backlog: most of the messages wait in the queue, behind a full prefetch.
#[divan::bench(sample_count = 10)]
fn backlog_of_100_000(bencher: Bencher<'_, '_>) {
    const BACKLOG: usize = 100_000;
    let runtime = runtime();
    let queue = MemoryQueue::new();
    let mut consumer = runtime.block_on(consumer(&queue));
    bencher.counter(ItemsCount::new(BACKLOG)).bench_local(|| {
        runtime.block_on(async {
            queue.publish(publications(BACKLOG)).await.expect("the queue is open");
            for _ in 0..BACKLOG / BATCH {
                let deliveries = take(&mut consumer, BATCH).await;
                Delivery::settle_all(deliveries, Settlement::Ack).await.expect("the queue is open");
            }
        });
    });
}
