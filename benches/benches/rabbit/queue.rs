//! `AmqpQueue` beside the driver alone: relaying from one queue to another, consuming, and publishing with confirmations to
//! one queue and to many.

use std::iter;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::StreamExt as _;
use job_benches::timed;
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Publication, PublishOutcome, Settlement, TaskQueue as _,
};
use job_queue_amqp::AmqpQueue;

use crate::bare::PREFETCH;
use crate::setup::Bench;
use crate::table::Compared;

const BODY: &[u8] = &[b'x'; 512];
/// What the dispatcher takes at once, and the tracker at least half of.
const BATCH: usize = 500;

pub(crate) async fn run(bench: &Bench) -> Result<()> {
    let queue = bench.queue().await?;
    let count = bench.size(20_000, 2_000);
    relaying(bench, &queue, count).await?;
    consuming(bench, &queue, count).await?;
    for queues in [1, 100] {
        for batch in [BATCH, count] {
            publishing(bench, &queue, count, queues, batch).await?;
        }
    }
    queue.close().await;
    Ok(())
}

async fn relaying(bench: &Bench, queue: &AmqpQueue, count: usize) -> Result<()> {
    let bare = async |queues: &[String]| bench.bare.relay(&queues[0], &queues[1], count, BATCH).await;
    let ours = async |queues: &[String]| {
        let mut consumer = queue.consume(&queues[0], ConsumeOptions { prefetch: PREFETCH }).await?;
        consume(&mut consumer, count, async |batch| {
            let onwards = batch.iter().map(|delivery| Publication::new(&queues[1], delivery.body.clone()));
            publish(queue, onwards.collect()).await
        })
        .await
    };
    let what = "AmqpQueue: consume, publish, ack";
    compare(
        bench,
        what,
        count,
        2,
        async |queues| bench.bare.publish(messages(&queues[..1], count)).await,
        bare,
        ours,
    )
    .await
}

async fn consuming(bench: &Bench, queue: &AmqpQueue, count: usize) -> Result<()> {
    let bare = async |queues: &[String]| bench.bare.consume(&queues[0], count, BATCH, async |_| Ok(())).await;
    let ours = async |queues: &[String]| {
        let mut consumer = queue.consume(&queues[0], ConsumeOptions { prefetch: PREFETCH }).await?;
        consume(&mut consumer, count, async |_| Ok(())).await
    };
    let what = "AmqpQueue: consume and ack";
    compare(
        bench,
        what,
        count,
        1,
        async |queues| bench.bare.publish(messages(queues, count)).await,
        bare,
        ours,
    )
    .await
}

async fn publishing(
    bench: &Bench,
    queue: &AmqpQueue,
    count: usize,
    queues: usize,
    batch: usize,
) -> Result<()> {
    let bare = async |queues: &[String]| {
        for _ in 0..count / batch {
            bench.bare.publish(messages(queues, batch)).await?;
        }
        Ok(())
    };
    let ours = async |queues: &[String]| {
        for _ in 0..count / batch {
            let batch = messages(queues, batch).map(|(queue, body)| Publication::new(queue, body));
            publish(queue, batch.collect()).await?;
        }
        Ok(())
    };
    let what = format!("AmqpQueue: publish to {queues} queues, {batch} at once");
    compare(bench, &what, count, queues, async |_| Ok(()), bare, ours).await
}

/// Runs both in turn, each on queues of its own. Who goes first alternates, so that neither profits from the other's
/// warming up; the first round of each is not counted.
async fn compare(
    bench: &Bench,
    what: &str,
    count: usize,
    queues: usize,
    prepare: impl AsyncFn(&[String]) -> Result<()>,
    bare: impl AsyncFn(&[String]) -> Result<()>,
    ours: impl AsyncFn(&[String]) -> Result<()>,
) -> Result<()> {
    if !bench.wants(what) {
        return Ok(());
    }
    let mut compared = Compared::default();
    for round in 0..=bench.rounds {
        let (mut of_bare, mut of_ours) = (None, None);
        for is_bare in [round % 2 == 0, round % 2 == 1] {
            let names: Vec<String> = iter::repeat_with(|| bench.name("queue")).take(queues).collect();
            bench.declare(&names).await?;
            prepare(&names).await?;
            if is_bare {
                let (done, took) = timed(bare(&names)).await;
                done?;
                of_bare = Some(took);
            } else {
                let (done, took) = timed(ours(&names)).await;
                done?;
                of_ours = Some(took);
            }
            bench.delete(&names).await?;
        }
        if let (Some(bare), Some(ours), 1..) = (of_bare, of_ours, round) {
            compared.add(count, ours, bare);
        }
    }
    compared.tell(what, "the driver alone");
    Ok(())
}

fn messages(queues: &[String], count: usize) -> impl Iterator<Item = (String, Bytes)> {
    (0..count).map(move |number| (queues[number % queues.len()].clone(), Bytes::from_static(BODY)))
}

async fn publish(queue: &AmqpQueue, messages: Vec<Publication>) -> Result<()> {
    for outcome in queue.publish(messages).await? {
        ensure!(outcome == PublishOutcome::Confirmed, "{outcome:?}");
    }
    Ok(())
}

async fn consume(
    consumer: &mut Consumer,
    count: usize,
    work: impl AsyncFn(&[Delivery]) -> Result<()>,
) -> Result<()> {
    let mut batches = consumer.ready_chunks(BATCH);
    let mut done = 0;
    while done < count {
        let batch = batches.next().await.context("the consumer ended")?;
        work(&batch).await?;
        done += batch.len();
        Delivery::settle_all(batch, Settlement::Ack).await?;
    }
    Ok(())
}
