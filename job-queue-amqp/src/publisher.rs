//! Publishing with confirmations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, OptionFuture, join};
use futures::stream::{self, StreamExt};
use job_core::queue::{Publication, PublishOutcome};
use job_core::{Clock, ClockExt, Result, Shutdown, Timestamp};

use crate::circuit::{Admission, Circuits};
use crate::control::Control;
use crate::error::Failure;
use crate::flight::{Fate, Flight};
use crate::lane::{Lane, Lanes};
use crate::link::Link;
use crate::live::Live;
use crate::options::AmqpOptions;
use crate::window::{Room, Window};

const OPERATION: &str = "queue::publish";
/// A larger message is sent when the one before it was answered. The broker closes the channel over a message that is too
/// large for it, and would close the whole connection over whatever followed on that channel.
const PIPELINED_BYTES_MAX: usize = 256 << 10;
/// How many missing queues are declared at once.
const DECLARING_MAX: usize = 8;

/// What publishing needs.
#[derive(Debug)]
pub(crate) struct Publisher {
    link: Arc<Link>,
    control: Arc<Control>,
    lanes: Arc<Lanes>,
    window: Window,
    circuits: Circuits,
    clock: Arc<dyn Clock>,
    limit: Duration,
    in_flight_max: usize,
    declares: bool,
}

impl Publisher {
    pub(crate) fn new(
        link: Arc<Link>,
        control: Arc<Control>,
        options: &AmqpOptions,
        clock: &Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Self {
        Self {
            link,
            control,
            lanes: Lanes::new(clock, options.confirm_timeout, shutdown),
            window: Window::new(options.in_flight_messages, options.in_flight_bytes),
            circuits: Circuits::default(),
            clock: Arc::clone(clock),
            limit: options.confirm_timeout,
            in_flight_max: options.in_flight_messages,
            declares: options.declare_on_publish,
        }
    }

    /// See [`TaskQueue::publish`](job_core::queue::TaskQueue::publish).
    pub(crate) async fn publish(&self, messages: &[Publication]) -> Result<Vec<PublishOutcome>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        // Whoever tries again and again without a pause, while everything is refused at once, must not starve the
        // connections.
        tokio::task::coop::consume_budget().await;
        let live = self.link.live(self.limit).await.map_err(|failure| failure.into_error(OPERATION))?;
        self.circuits.on_connection(live.epoch);
        if let Some(blocked) = self.stays_blocked(&live).await {
            return Err(blocked.into_error(OPERATION));
        }
        let mut outcomes = vec![PublishOutcome::Unroutable; messages.len()];
        let (missing, ready): (Vec<usize>, Vec<usize>) = (0..messages.len())
            .partition(|index| self.declares && !self.control.is_declared(&messages[*index].queue));
        let publication = Batch { publisher: self, live: &live, messages };
        let (mut fates, others) = join(publication.send(ready), publication.declare_and_send(missing)).await;
        fates.extend(others);
        if self.declares {
            // Deleted behind our back: this is the one chance to get it back.
            let gone = fates.extract_if(.., |(_, fate)| *fate == Fate::Unroutable);
            let gone: Vec<usize> = gone.map(|(index, _)| index).collect();
            gone.iter().for_each(|index| self.control.forget(&messages[*index].queue));
            fates.extend(publication.declare_and_send(gone).await);
        }
        for (index, fate) in fates {
            outcomes[index] = match fate {
                Fate::Confirmed => PublishOutcome::Confirmed,
                Fate::Unroutable => PublishOutcome::Unroutable,
                Fate::Refused(reason) | Fate::ChannelClosed(reason) => PublishOutcome::Refused { reason },
            };
        }
        Ok(outcomes)
    }

    /// That publishers are blocked, if they are and remain so.
    async fn stays_blocked(&self, live: &Live) -> Option<Failure> {
        live.blocked()?;
        let _ = self.clock.timeout(self.limit, live.unblocked()).await;
        live.blocked().map(Failure::Blocked)
    }
}

/// The messages of one publish, and the connection they go over.
struct Batch<'a> {
    publisher: &'a Publisher,
    live: &'a Arc<Live>,
    messages: &'a [Publication],
}

impl Batch<'_> {
    /// Queue by queue, so that one that cannot be declared holds up no other.
    async fn declare_and_send(&self, indexes: Vec<usize>) -> Vec<(usize, Fate)> {
        let mut by_queue: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for index in indexes {
            by_queue.entry(&self.messages[index].queue).or_default().push(index);
        }
        let work: Vec<BoxFuture<'_, Vec<(usize, Fate)>>> = by_queue
            .into_iter()
            .map(|(queue, indexes)| self.declare_and_send_one(queue, indexes).boxed())
            .collect();
        stream::iter(work).buffer_unordered(DECLARING_MAX).concat().await
    }

    async fn declare_and_send_one(&self, queue: &str, indexes: Vec<usize>) -> Vec<(usize, Fate)> {
        match self.publisher.control.declare(queue).await {
            Ok(()) => self.send(indexes).await,
            Err(error) => {
                let fate = Fate::Refused(format!("the queue cannot be declared: {}", error.message()));
                indexes.into_iter().map(|index| (index, fate.clone())).collect()
            }
        }
    }

    /// Small ones in a pipeline, large ones one by one.
    async fn send(&self, indexes: Vec<usize>) -> Vec<(usize, Fate)> {
        let is_large = |index: &usize| self.messages[*index].body.len() > PIPELINED_BYTES_MAX;
        let (large, small): (Vec<usize>, Vec<usize>) = indexes.into_iter().partition(is_large);
        let (mut fates, others) = join(self.send_pipelined(small), self.send_one_by_one(large)).await;
        fates.extend(others);
        fates
    }

    async fn send_pipelined(&self, indexes: Vec<usize>) -> Vec<(usize, Fate)> {
        let mut fates = self.send_on_a_lane(&indexes, self.publisher.in_flight_max).await;
        // The broker does not say which message it closed the channel over.
        let unclear = fates.extract_if(.., |(_, fate)| matches!(fate, Fate::ChannelClosed(_)));
        let unclear: Vec<usize> = unclear.map(|(index, _)| index).collect();
        fates.extend(self.send_one_by_one(unclear).await);
        fates
    }

    async fn send_one_by_one(&self, indexes: Vec<usize>) -> Vec<(usize, Fate)> {
        let mut fates = Vec::new();
        let mut rest = indexes.as_slice();
        while !rest.is_empty() {
            // A closed channel ends the run with the message that it was closed over; the ones after it were not sent.
            let sent = self.send_on_a_lane(rest, 1).await;
            let closed = sent.iter().position(|(_, fate)| matches!(fate, Fate::ChannelClosed(_)));
            let done = closed.map_or(sent.len(), |at| at + 1);
            fates.extend(sent.into_iter().take(done));
            rest = &rest[done..];
        }
        fates
    }

    /// In the order of `indexes`.
    async fn send_on_a_lane(&self, indexes: &[usize], width: usize) -> Vec<(usize, Fate)> {
        if indexes.is_empty() {
            return Vec::new();
        }
        // It may have begun since the publish did.
        if let Some(blocked) = self.publisher.stays_blocked(self.live).await {
            return indexes.iter().map(|index| (*index, Fate::Refused(blocked.reason()))).collect();
        }
        match self.publisher.lanes.take(self.live).await {
            Ok(lane) => self.fly(lane, indexes, width).await,
            Err(failure) => {
                let fate = Fate::Refused(failure.reason());
                indexes.iter().map(|index| (*index, fate.clone())).collect()
            }
        }
    }

    async fn fly(&self, lane: Lane, indexes: &[usize], width: usize) -> Vec<(usize, Fate)> {
        let (is_clean, fates) = {
            let circuits = &self.publisher.circuits;
            let mut flight = Flight::new(lane.channel(), circuits, self.messages, indexes);
            self.drive(&mut flight, width).await;
            (flight.is_clean(), flight.fates())
        };
        if is_clean {
            lane.finish();
        }
        fates
    }

    /// Sends, and waits until everything was answered or given up.
    async fn drive(&self, flight: &mut Flight<'_>, width: usize) {
        let Publisher { window, clock, limit, .. } = self.publisher;
        // Kept across answers, for its place in the line.
        let mut entering: OptionFuture<BoxFuture<'_, Room>> = None.into();
        let mut is_entering = false;
        let mut held_up_since = None;
        let mut timer = clock.sleep(*limit);
        loop {
            let mut is_blocked = false;
            while let Some(message) = flight.next_unsent()
                && flight.unanswered() < width
                && !is_entering
            {
                is_blocked = self.live.blocked().is_some();
                if is_blocked {
                    held_up_since.get_or_insert(clock.now());
                    break;
                }
                match window.try_enter(message.body.len()) {
                    Some(room) => {
                        held_up_since = None;
                        if let Some(trial) = self.launch(flight, room) {
                            timer = clock.sleep(trial);
                        }
                    }
                    None => {
                        held_up_since.get_or_insert(clock.now());
                        entering = Some(window.enter(message.body.len()).boxed()).into();
                        is_entering = true;
                    }
                }
            }
            if flight.next_unsent().is_none() && flight.unanswered() == 0 {
                return;
            }
            tokio::select! {
                Some(()) = flight.take_answers() => {}
                Some(room) = &mut entering, if is_entering => {
                    (entering, is_entering, held_up_since) = (None.into(), false, None);
                    if let Some(trial) = self.launch(flight, room) {
                        timer = clock.sleep(trial);
                    }
                }
                () = self.live.unblocked(), if is_blocked => {}
                () = &mut timer => {
                    let now = clock.now();
                    self.give_up_late(flight, now);
                    let is_held_up = |since: Timestamp| now.since(since) >= *limit;
                    if held_up_since.is_some_and(is_held_up) {
                        flight.skip_rest(&Fate::Refused(self.held_up()));
                        (entering, is_entering, held_up_since) = (None.into(), false, None);
                    }
                    let held_up_until = held_up_since.map(|since| since.saturating_add(*limit));
                    let next = flight.next_deadline().into_iter().chain(held_up_until).min();
                    timer = clock.sleep(next.map_or(*limit, |next| next.since(now)));
                }
            }
            if !flight.is_open() {
                flight.skip_rest(&if self.live.is_connected() {
                    Fate::ChannelClosed("the channel was closed before it was sent".to_owned())
                } else {
                    Fate::Refused(
                        "the connection was lost before it was sent, so that the queue does not have it"
                            .to_owned(),
                    )
                });
                (entering, is_entering) = (None.into(), false);
            }
        }
    }

    /// Sends the next message unless its queue rests; the time to look again when it is only a trial.
    fn launch(&self, flight: &mut Flight<'_>, room: Room) -> Option<Duration> {
        let queue = &flight.next_unsent()?.queue;
        let now = self.publisher.clock.now();
        let (patience, trial) = match self.publisher.circuits.admit(queue, now) {
            Admission::Normal => (self.publisher.limit, None),
            Admission::Trial(patience) => (patience, Some(patience)),
            Admission::Resting => {
                let reason = "the queue did not answer before and is tried again later".to_owned();
                flight.skip_next(Fate::Refused(reason));
                return None;
            }
        };
        flight.send_next(room, now.saturating_add(patience));
        trial
    }

    fn give_up_late(&self, flight: &mut Flight<'_>, now: Timestamp) {
        let Publisher { circuits, limit, .. } = self.publisher;
        match self.live.blocked() {
            // No queue is to blame.
            Some(why) => drop(flight.expire(now, &blocked(&why))),
            None => {
                let reason = format!("no answer within {limit:?}: the queue may or may not have it");
                for queue in flight.expire(now, &reason) {
                    circuits.was_silent(queue, now);
                }
            }
        }
    }

    fn held_up(&self) -> String {
        match self.live.blocked() {
            Some(why) => blocked(&why),
            None => "too many messages wait for the broker's answer".to_owned(),
        }
    }
}

fn blocked(why: &str) -> String {
    Failure::Blocked(why.to_owned()).reason()
}
