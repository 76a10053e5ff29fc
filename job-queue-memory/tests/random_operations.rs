//! Random operations against a list of what must hold: nothing lost, nothing twice, no prefetch exceeded.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt, StreamExt};
use job_core::queue::{ConsumeOptions, Consumer, Delivery, Publication, Settlement, TaskQueue};
use job_queue_memory::MemoryQueue;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Operation {
    Publish(u8),
    Consume { prefetch: u16 },
    Take { consumer: usize },
    Settle { consumer: usize, count: usize, how: How },
    DropConsumer { consumer: usize },
}

#[derive(Debug, Clone, Copy)]
enum How {
    Settle(Settlement),
    Drop,
}

fn operation() -> impl Strategy<Value = Operation> {
    let how = prop_oneof![
        3 => Just(How::Settle(Settlement::Ack)),
        1 => Just(How::Settle(Settlement::Requeue)),
        1 => Just(How::Settle(Settlement::Reject)),
        1 => Just(How::Drop),
    ];
    prop_oneof![
        3 => (1_u8..6).prop_map(Operation::Publish),
        1 => (1_u16..5).prop_map(|prefetch| Operation::Consume { prefetch }),
        6 => (0_usize..4).prop_map(|consumer| Operation::Take { consumer }),
        3 => (0_usize..4, 1_usize..4, how)
            .prop_map(|(consumer, count, how)| Operation::Settle { consumer, count, how }),
        1 => (0_usize..4).prop_map(|consumer| Operation::DropConsumer { consumer }),
    ]
}

struct Side {
    consumer: Consumer,
    prefetch: usize,
    in_hand: Vec<Delivery>,
}

#[derive(Default)]
struct Model {
    published: u32,
    open: BTreeSet<u32>,
    in_hand: BTreeSet<u32>,
    handed_out: BTreeMap<u32, u32>,
}

fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.body).unwrap().parse().unwrap()
}

impl Model {
    fn take(&mut self, delivery: &Delivery) {
        let number = number(delivery);
        assert!(self.open.contains(&number), "{number} is settled and comes again");
        assert!(self.in_hand.insert(number), "{number} is in two hands");
        let before = self.handed_out.entry(number).or_default();
        assert_eq!(delivery.redeliveries, *before);
        *before += 1;
    }
}

async fn run(operations: Vec<Operation>) {
    let queue = MemoryQueue::new();
    queue.declare("q").await.unwrap();
    let mut model = Model::default();
    let mut sides: Vec<Side> = Vec::new();
    let mut orphans: Vec<Delivery> = Vec::new();
    for operation in operations {
        match operation {
            Operation::Publish(count) => {
                let numbers = model.published..model.published + u32::from(count);
                model.published = numbers.end;
                model.open.extend(numbers.clone());
                let messages = numbers.map(|number| Publication::new("q", number.to_string())).collect();
                queue.publish(messages).await.unwrap();
            }
            Operation::Consume { prefetch } => {
                let consumer = queue.consume("q", ConsumeOptions { prefetch }).await.unwrap();
                sides.push(Side { consumer, prefetch: usize::from(prefetch), in_hand: Vec::new() });
            }
            Operation::Take { consumer } => {
                let Some(side) = sides.get_mut(consumer) else { continue };
                if let Some(delivery) = side.consumer.next().now_or_never() {
                    let delivery = delivery.unwrap();
                    model.take(&delivery);
                    side.in_hand.push(delivery);
                    assert!(side.in_hand.len() <= side.prefetch);
                }
            }
            Operation::Settle { consumer, count, how } => {
                let Some(side) = sides.get_mut(consumer) else { continue };
                let mut settled: Vec<Delivery> = orphans.drain(..orphans.len().min(count)).collect();
                settled.extend(side.in_hand.drain(..side.in_hand.len().min(count)));
                for number in settled.iter().map(number) {
                    model.in_hand.remove(&number);
                    if matches!(how, How::Settle(Settlement::Ack | Settlement::Reject)) {
                        model.open.remove(&number);
                    }
                }
                match how {
                    How::Settle(settlement) => Delivery::settle_all(settled, settlement).await.unwrap(),
                    How::Drop => drop(settled),
                }
            }
            Operation::DropConsumer { consumer } => {
                if consumer < sides.len() {
                    orphans.extend(sides.remove(consumer).in_hand);
                }
            }
        }
    }

    // What a new connection finds once all others let go is exactly what was never settled, each once, in order.
    drop((sides, orphans));
    assert_eq!(queue.depth("q").await.unwrap(), Some(model.open.len() as u64));
    let mut rest = queue.consume("q", ConsumeOptions { prefetch: u16::MAX }).await.unwrap();
    let rest: Vec<Delivery> = std::iter::from_fn(|| rest.next().now_or_never().flatten()).collect();
    let numbers: Vec<u32> = rest.iter().map(number).collect();
    assert_eq!(numbers, model.open.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_message_is_in_one_place_until_it_is_settled(
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        // Outside a task, where the runtime's budget does not end a poll early.
        runtime.block_on(tokio::task::coop::unconstrained(run(operations)));
    }
}
