//! A queue that fails, repeats and delays, by seed.
//!
//! What happens to the n-th publish, message, delivery or settlement is a function of the seed and n alone, so that
//! a run whose tasks take turns in the same order sees the same faults again.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use async_trait::async_trait;
use futures::Stream;
use job_core::queue::{
    ConsumeOptions, Consumer, Delivery, Publication, PublishOutcome, Settle, Settlement, TaskQueue,
};
use job_core::{Error, Result};

/// How often each fault happens, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueFaultRates {
    /// A publish fails as a whole and nothing was sent.
    pub publish_fails: u16,
    /// A publish fails as a whole though everything was sent: more than the contract allows, so that callers can be
    /// shown to survive it.
    pub publish_fails_after_sending: u16,
    /// A message is not sent and reported as refused.
    pub message_refused: u16,
    /// A message is sent and reported as refused: its confirmation was lost.
    pub confirm_lost: u16,
    /// A message is sent twice.
    pub message_duplicated: u16,
    /// A delivery is held back while a few later ones pass; not when none are there.
    pub delivery_delayed: u16,
    /// A settlement fails with nothing settled: the deliveries come again.
    pub settle_fails: u16,
    /// A settlement fails though everything was settled.
    pub settle_fails_after_settling: u16,
    /// Any other call fails.
    pub call_fails: u16,
}

impl QueueFaultRates {
    /// Every fault that the contract allows, each at this rate.
    #[must_use]
    pub const fn all_allowed(rate: u16) -> Self {
        Self {
            publish_fails: rate,
            publish_fails_after_sending: 0,
            message_refused: rate,
            confirm_lost: rate,
            message_duplicated: rate,
            delivery_delayed: rate,
            settle_fails: rate,
            settle_fails_after_settling: rate,
            call_fails: rate,
        }
    }
}

/// How often each fault has happened, under the names of [`QueueFaultRates`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(missing_docs, reason = "see the fields of the rates")]
pub struct QueueFaultCounts {
    pub publish_fails: u64,
    pub publish_fails_after_sending: u64,
    pub message_refused: u64,
    pub confirm_lost: u64,
    pub message_duplicated: u64,
    pub delivery_delayed: u64,
    pub settle_fails: u64,
    pub settle_fails_after_settling: u64,
    pub call_fails: u64,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    PublishFails,
    PublishFailsAfterSending,
    MessageRefused,
    ConfirmLost,
    MessageDuplicated,
    DeliveryDelayed,
    SettleFails,
    SettleFailsAfterSettling,
    CallFails,
}

const FAULTS: usize = 9;

impl Fault {
    fn rate(self, rates: &QueueFaultRates) -> u16 {
        match self {
            Self::PublishFails => rates.publish_fails,
            Self::PublishFailsAfterSending => rates.publish_fails_after_sending,
            Self::MessageRefused => rates.message_refused,
            Self::ConfirmLost => rates.confirm_lost,
            Self::MessageDuplicated => rates.message_duplicated,
            Self::DeliveryDelayed => rates.delivery_delayed,
            Self::SettleFails => rates.settle_fails,
            Self::SettleFailsAfterSettling => rates.settle_fails_after_settling,
            Self::CallFails => rates.call_fails,
        }
    }
}

/// Decides; shared by the queue, its consumers and their deliveries.
#[derive(Debug)]
struct Dice {
    seed: u64,
    rates: QueueFaultRates,
    enabled: AtomicBool,
    /// How often each question was asked, and answered with yes.
    asked: [AtomicU64; FAULTS],
    happened: [AtomicU64; FAULTS],
}

impl Dice {
    fn new(seed: u64, rates: QueueFaultRates) -> Self {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Self { seed, rates, enabled: AtomicBool::new(true), asked: zeros(), happened: zeros() }
    }

    /// Whether the fault happens now. Each kind has its own sequence, so that one is not shifted by another.
    fn roll(&self, fault: Fault) -> bool {
        if !self.enabled.load(Ordering::SeqCst) {
            return false;
        }
        let kind = fault as usize;
        let turn = self.asked[kind].fetch_add(1, Ordering::SeqCst);
        let yes =
            mix(mix(self.seed ^ (kind as u64) << 56) ^ turn) % 1_000 < u64::from(fault.rate(&self.rates));
        if yes {
            self.happened[kind].fetch_add(1, Ordering::SeqCst);
        }
        yes
    }

    fn happened(&self, fault: Fault) -> u64 {
        self.happened[fault as usize].load(Ordering::SeqCst)
    }
}

/// Spreads neighbouring inputs over all outputs (the finaliser of `SplitMix64`).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn broken(what: &str) -> Error {
    Error::unavailable(format!("injected fault: {what}")).with_operation("queue::fault")
}

/// A [`TaskQueue`] in front of another that injects faults.
///
/// No message is ever lost by it: whatever was confirmed comes until somebody's settlement has taken effect.
#[derive(Debug)]
pub struct FaultyQueue {
    inner: Arc<dyn TaskQueue>,
    dice: Arc<Dice>,
}

impl FaultyQueue {
    /// Injects faults into `inner`, from now on.
    #[must_use]
    pub fn new(inner: Arc<dyn TaskQueue>, seed: u64, rates: QueueFaultRates) -> Self {
        Self { inner, dice: Arc::new(Dice::new(seed, rates)) }
    }

    /// Switches the faults on or off, also for consumers and deliveries that exist already.
    pub fn set_enabled(&self, enabled: bool) {
        self.dice.enabled.store(enabled, Ordering::SeqCst);
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> QueueFaultCounts {
        let count = |fault| self.dice.happened(fault);
        QueueFaultCounts {
            publish_fails: count(Fault::PublishFails),
            publish_fails_after_sending: count(Fault::PublishFailsAfterSending),
            message_refused: count(Fault::MessageRefused),
            confirm_lost: count(Fault::ConfirmLost),
            message_duplicated: count(Fault::MessageDuplicated),
            delivery_delayed: count(Fault::DeliveryDelayed),
            settle_fails: count(Fault::SettleFails),
            settle_fails_after_settling: count(Fault::SettleFailsAfterSettling),
            call_fails: count(Fault::CallFails),
        }
    }

    fn call(&self, what: &str) -> Result<()> {
        if self.dice.roll(Fault::CallFails) { Err(broken(what)) } else { Ok(()) }
    }
}

/// What the caller of a publish is told about one message.
#[derive(Clone, Copy)]
enum Telling {
    /// It was not sent.
    Refused,
    /// The outcome of the sent message of this index, unless its confirmation is lost.
    Outcome { sent: usize, is_lost: bool },
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl TaskQueue for FaultyQueue {
    async fn publish(&self, messages: Vec<Publication>) -> Result<Vec<PublishOutcome>> {
        if self.dice.roll(Fault::PublishFails) {
            return Err(broken("nothing was sent"));
        }
        let mut sent = Vec::with_capacity(messages.len());
        let mut tellings = Vec::with_capacity(messages.len());
        for message in messages {
            if self.dice.roll(Fault::MessageRefused) {
                tellings.push(Telling::Refused);
                continue;
            }
            let is_lost = self.dice.roll(Fault::ConfirmLost);
            tellings.push(Telling::Outcome { sent: sent.len(), is_lost });
            if self.dice.roll(Fault::MessageDuplicated) {
                sent.push(message.clone());
            }
            sent.push(message);
        }
        let outcomes = self.inner.publish(sent).await?;
        if self.dice.roll(Fault::PublishFailsAfterSending) {
            return Err(broken("the connection was lost after sending"));
        }
        let refused = |reason: &str| PublishOutcome::Refused { reason: format!("injected fault: {reason}") };
        Ok(tellings
            .into_iter()
            .map(|telling| match telling {
                Telling::Refused => refused("not accepted"),
                Telling::Outcome { sent, is_lost } => match outcomes.get(sent) {
                    Some(PublishOutcome::Confirmed) if is_lost => refused("the confirmation was lost"),
                    Some(outcome) => outcome.clone(),
                    None => refused("the queue behind gave no outcome"),
                },
            })
            .collect())
    }

    async fn consume(&self, queue: &str, options: ConsumeOptions) -> Result<Consumer> {
        self.call("cannot consume")?;
        let inner = self.inner.consume(queue, options).await?;
        let settle = Arc::new(FaultySettle {
            dice: Arc::clone(&self.dice),
            next_tag: AtomicU64::new(0),
            in_hand: Mutex::default(),
        });
        Ok(Consumer::new(FaultyDeliveries { inner, settle, delayed: VecDeque::new(), passed: 0 }))
    }

    async fn declare(&self, queue: &str) -> Result<()> {
        self.call("cannot declare")?;
        self.inner.declare(queue).await
    }

    async fn depth(&self, queue: &str) -> Result<Option<u64>> {
        self.call("cannot tell the depth")?;
        self.inner.depth(queue).await
    }

    fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    async fn ping(&self) -> Result<()> {
        self.call("no answer")?;
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// How many deliveries a consumer holds back at most, and how many may pass the oldest of them.
const WINDOW: usize = 8;

/// Deliveries of the queue behind, some of them held back for a while.
struct FaultyDeliveries {
    inner: Consumer,
    settle: Arc<FaultySettle>,
    delayed: VecDeque<Delivery>,
    /// How many have passed since one was last released.
    passed: usize,
}

impl FaultyDeliveries {
    fn release(&mut self) -> Option<Delivery> {
        self.passed = 0;
        self.delayed.pop_front()
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        while self.delayed.len() < WINDOW && (self.delayed.is_empty() || self.passed < WINDOW) {
            match Pin::new(&mut self.inner).poll_next(cx) {
                Poll::Ready(Some(delivery)) => {
                    if self.settle.dice.roll(Fault::DeliveryDelayed) {
                        self.delayed.push_back(delivery);
                        continue;
                    }
                    self.passed = if self.delayed.is_empty() { 0 } else { self.passed + 1 };
                    return Poll::Ready(Some(delivery));
                }
                Poll::Ready(None) => {
                    self.delayed.clear();
                    return Poll::Ready(None);
                }
                // Nobody waits for a delivery that is here: what is held back counts towards the prefetch, and the
                // queue behind may send no more before it is settled.
                Poll::Pending if self.delayed.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(self.release())
    }
}

impl Stream for FaultyDeliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let next = self.poll_inner(cx);
        next.map(|delivery| delivery.map(|delivery| FaultySettle::hand_out(&self.settle, delivery)))
    }
}

/// Settles the deliveries of one consumer, or says that it did not.
#[derive(Debug)]
struct FaultySettle {
    dice: Arc<Dice>,
    next_tag: AtomicU64,
    in_hand: Mutex<HashMap<u64, Delivery>>,
}

impl FaultySettle {
    /// The same delivery under a tag of ours.
    fn hand_out(settle: &Arc<Self>, inner: Delivery) -> Delivery {
        let tag = settle.next_tag.fetch_add(1, Ordering::SeqCst);
        let outer = Delivery::new(
            inner.queue.clone(),
            inner.body.clone(),
            inner.headers.clone(),
            inner.redeliveries,
            Arc::<Self>::clone(settle),
            tag,
        )
        .with_message_id(inner.message_id.clone());
        settle.in_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(tag, inner);
        outer
    }

    fn take(&self, tags: &[u64]) -> Vec<Delivery> {
        let mut in_hand = self.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
        tags.iter().filter_map(|tag| in_hand.remove(tag)).collect()
    }
}

#[async_trait]
impl Settle for FaultySettle {
    async fn settle(&self, tags: &[u64], settlement: Settlement) -> Result<()> {
        let deliveries = self.take(tags);
        if self.dice.roll(Fault::SettleFails) {
            // Dropping them is what a lost connection does.
            drop(deliveries);
            return Err(broken("the deliveries are not settled"));
        }
        Delivery::settle_all(deliveries, settlement).await?;
        if self.dice.roll(Fault::SettleFailsAfterSettling) {
            return Err(broken("the deliveries are settled, but nobody says so"));
        }
        Ok(())
    }

    fn abandon(&self, tag: u64) {
        drop(self.take(&[tag]));
    }
}
