//! Cases on what arrives.

use std::collections::BTreeMap;

use job_core::queue::{Delivery, Publication, Settlement};

use super::QueueHarness;
use super::line::{Line, headers, text};

/// A body may hold any byte, though producers send JSON.
pub async fn a_body_arrives_byte_for_byte(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let body: Vec<u8> = (0..=u8::MAX).chain([0, 0xff, 0xfe, b'\r', b'\n', 0]).collect();
    line.publish([body.clone()]).await;
    let delivery = line.consume(1).await.next().await;
    assert_eq!(delivery.body, body);
    delivery.ack().await.unwrap();
}

/// Task data is often large.
pub async fn a_body_of_four_mebibytes_arrives(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let body: Vec<u8> = (0..4_u32 << 20).map(|index| (index % 251) as u8).collect();
    line.publish([body.clone()]).await;
    let delivery = line.consume(1).await.next().await;
    assert!(delivery.body == body, "{} bytes came, not those sent", delivery.body.len());
    delivery.ack().await.unwrap();
}

/// Protocols cut bodies into frames; the cuts must not show.
pub async fn bodies_of_every_size_around_a_frame_arrive(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let sizes = [1, 4_095, 4_096, 4_097, 131_063, 131_064, 131_065, 131_072, 131_073, 262_144];
    line.publish(sizes.map(|size| vec![b'x'; size])).await;
    let taken = line.consume(20).await.take(sizes.len()).await;
    let mut arrived: Vec<usize> = taken.iter().map(|delivery| delivery.body.len()).collect();
    arrived.sort_unstable();
    assert_eq!(arrived, sizes);
    assert!(taken.iter().all(|delivery| delivery.body.iter().all(|byte| *byte == b'x')));
}

/// All that was sent; a broker may add its own.
pub async fn headers_arrive(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let long = "v".repeat(4_000);
    let sent = headers([
        ("x-caf-worker-retry", "3"),
        ("empty", ""),
        ("größe", "naïve – 数据 🚀"),
        ("long", &long),
        ("json", "{\"a\": [1, 2]}\n"),
    ]);
    line.publish_messages(vec![Publication { headers: sent.clone(), ..line.message("{}") }]).await;
    let delivery = line.consume(1).await.next().await;
    let arrived: BTreeMap<_, _> =
        delivery.headers.iter().filter(|(name, _)| sent.contains_key(*name)).collect();
    assert_eq!(arrived, sent.iter().collect());
    delivery.ack().await.unwrap();
}

/// A consumer recognises a repeat by it, also when the message was in hand before.
pub async fn an_id_travels_with_its_message(harness: &dyn QueueHarness) {
    let line = Line::new(harness).await;
    let with_id = |id: &str| Publication { message_id: Some(id.to_owned()), ..line.message(id.to_owned()) };
    let long = "i".repeat(255);
    line.publish_messages(vec![with_id("a"), with_id("größe"), with_id(&long), line.message("none")]).await;
    let mut tap = line.consume(10).await;
    for round in 0..2 {
        let taken = tap.take(4).await;
        for delivery in &taken {
            let body = text(delivery);
            let expected = (body != "none").then_some(body.as_str());
            assert_eq!(delivery.message_id.as_deref(), expected, "round {round}");
        }
        let settlement = if round == 0 { Settlement::Requeue } else { Settlement::Ack };
        Delivery::settle_all(taken, settlement).await.unwrap();
    }
}

/// A holder of deliveries of several queues can tell them apart.
pub async fn a_delivery_names_its_queue(harness: &dyn QueueHarness) {
    for suffix in ["plain", "größe 清单"] {
        let line = Line::undeclared(harness, suffix).await;
        line.publish(["a"]).await;
        let delivery = line.consume(1).await.next().await;
        assert_eq!(delivery.queue, line.name);
        delivery.ack().await.unwrap();
    }
}

/// No message is far from its place when nothing is requeued.
pub async fn messages_come_roughly_in_order(harness: &dyn QueueHarness) {
    const COUNT: usize = 1_000;
    const DISPLACEMENT_MAX: usize = 100;
    let line = Line::new(harness).await;
    line.publish_numbers(COUNT).await;
    let mut tap = line.consume(10).await;
    for place in 0..COUNT {
        let delivery = tap.next().await;
        let number: usize = text(&delivery).parse().unwrap();
        assert!(number.abs_diff(place) <= DISPLACEMENT_MAX, "{number} came in place {place}");
        delivery.ack().await.unwrap();
    }
}
