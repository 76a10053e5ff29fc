//! Messages on their way over one lane, and what becomes of each.
//!
//! A message is confirmed only when the broker acked it *and did not return it*: it acks what it cannot route, too. lapin
//! hands a returned message out with some confirmation, not always with its own; that is why returned messages are told
//! by their content, once everything sent was answered. Messages of equal content are interchangeable.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use job_core::Timestamp;
use job_core::queue::Publication;
use lapin::message::BasicReturnMessage;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Confirmation, PublisherConfirm};

use crate::circuit::Circuits;
use crate::control;
use crate::error;
use crate::headers::{properties, sent_id};
use crate::window::Room;

const DEFAULT_EXCHANGE: &str = "";

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Confirmed,
    /// The broker knows no such queue.
    Unroutable,
    Refused(String),
    /// Its channel was closed by the broker, for its sake or for another message's.
    ChannelClosed(String),
}

#[derive(Debug)]
enum State {
    Unsent,
    Sent { until: Timestamp },
    Answered { acked: bool, with_return: bool },
    Done(Fate),
}

/// Some of the messages of a publish, by their index there, on one channel.
pub(crate) struct Flight<'a> {
    channel: &'a Channel,
    circuits: &'a Circuits,
    messages: &'a [Publication],
    /// Places refer to this list.
    indexes: &'a [usize],
    states: Vec<State>,
    unsent: VecDeque<usize>,
    underway: FuturesUnordered<Underway<'a>>,
    unanswered: usize,
    returned: Vec<BasicReturnMessage>,
}

impl<'a> Flight<'a> {
    pub(crate) fn new(
        channel: &'a Channel,
        circuits: &'a Circuits,
        messages: &'a [Publication],
        indexes: &'a [usize],
    ) -> Self {
        Self {
            channel,
            circuits,
            messages,
            indexes,
            states: indexes.iter().map(|_| State::Unsent).collect(),
            unsent: (0..indexes.len()).collect(),
            underway: FuturesUnordered::new(),
            unanswered: 0,
            returned: Vec::new(),
        }
    }

    fn message(&self, place: usize) -> &'a Publication {
        &self.messages[self.indexes[place]]
    }

    /// The message that is next to be sent.
    pub(crate) fn next_unsent(&self) -> Option<&'a Publication> {
        self.unsent.front().map(|place| self.message(*place))
    }

    /// How many were sent and are waited for.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Whether more can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    /// Whether everything that was ever sent on the channel was answered.
    pub(crate) fn is_clean(&self) -> bool {
        self.underway.is_empty()
    }

    /// Sends the next message, to be waited for until then.
    pub(crate) fn send_next(&mut self, room: Room, until: Timestamp) {
        let Some(place) = self.unsent.pop_front() else { return };
        let message = self.message(place);
        let prepared = control::name(&message.queue)
            .map_err(|error| error.message().to_owned())
            .and_then(|name| Ok((name, properties(&message.headers, message.message_id.as_deref())?)));
        let (name, properties) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.states[place] = State::Done(Fate::Refused(reason));
                return;
            }
        };
        let channel = self.channel;
        let writing = async move {
            let mandatory = BasicPublishOptions { mandatory: true, immediate: false };
            channel.basic_publish(DEFAULT_EXCHANGE.into(), name, mandatory, &message.body, properties).await
        };
        let mut underway = Underway { place, stage: Stage::Writing(writing.boxed()), _room: room };
        self.states[place] = State::Sent { until };
        self.unanswered += 1;
        // lapin numbers and queues a message when its future is first polled: now, so that messages keep their order.
        let first_poll = underway.poll_unpin(&mut Context::from_waker(std::task::Waker::noop()));
        match first_poll {
            Poll::Ready((place, answer)) => self.answer(place, answer),
            Poll::Pending => self.underway.push(underway),
        }
    }

    /// Waits for answers and takes all that are there.
    pub(crate) async fn take_answers(&mut self) -> Option<()> {
        let (place, answer) = self.underway.next().await?;
        self.answer(place, answer);
        while let Some(Some((place, answer))) = self.underway.next().now_or_never() {
            self.answer(place, answer);
        }
        Some(())
    }

    fn answer(&mut self, place: usize, answer: lapin::Result<Confirmation>) {
        let (acked, returned) = match answer {
            Ok(Confirmation::Ack(returned)) => (true, returned),
            Ok(Confirmation::Nack(returned)) => (false, returned),
            Ok(Confirmation::NotRequested) => (false, None),
            Err(error) => {
                let reason = error::reason(&error);
                let is_for_channel = matches!(error.kind(), lapin::ErrorKind::InvalidChannelState(..));
                let fate = match error::refusal(&error) {
                    Some(_) => Fate::ChannelClosed(reason),
                    None if is_for_channel => Fate::ChannelClosed(reason),
                    None => Fate::Refused(format!(
                        "the connection was lost before it was confirmed, so that the queue may or may not have it: {reason}"
                    )),
                };
                self.end(place, fate);
                return;
            }
        };
        self.circuits.answered(&self.message(place).queue);
        let with_return = returned.is_some();
        self.returned.extend(returned);
        if let State::Sent { .. } = self.states[place] {
            self.unanswered -= 1;
            self.states[place] = State::Answered { acked, with_return };
        }
    }

    fn end(&mut self, place: usize, fate: Fate) {
        match self.states[place] {
            State::Sent { .. } => self.unanswered -= 1,
            State::Unsent => {}
            State::Answered { .. } | State::Done(_) => return,
        }
        self.states[place] = State::Done(fate);
    }

    /// The next message will not be sent.
    pub(crate) fn skip_next(&mut self, fate: Fate) {
        if let Some(place) = self.unsent.pop_front() {
            self.end(place, fate);
        }
    }

    /// None of the rest will be sent.
    pub(crate) fn skip_rest(&mut self, fate: &Fate) {
        while !self.unsent.is_empty() {
            self.skip_next(fate.clone());
        }
    }

    /// The earliest time at which a message has been waited for long enough.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.states
            .iter()
            .filter_map(|state| match state {
                State::Sent { until } => Some(*until),
                _ => None,
            })
            .min()
    }

    /// Gives up what was waited for long enough, and with it everything sent to the same queues; the queues.
    pub(crate) fn expire(&mut self, now: Timestamp, reason: &str) -> Vec<&'a str> {
        let mut queues: Vec<&str> = Vec::new();
        for (place, state) in self.states.iter().enumerate() {
            let queue = self.message(place).queue.as_str();
            if matches!(state, State::Sent { until } if *until <= now) && !queues.contains(&queue) {
                queues.push(queue);
            }
        }
        for place in 0..self.states.len() {
            let is_sent = matches!(self.states[place], State::Sent { .. });
            if is_sent && queues.contains(&self.message(place).queue.as_str()) {
                self.end(place, Fate::Refused(reason.to_owned()));
            }
        }
        queues
    }

    /// What became of each, by its index in the publish.
    pub(crate) fn fates(mut self) -> Vec<(usize, Fate)> {
        for returned in std::mem::take(&mut self.returned) {
            let is_it = |place: &usize| {
                matches!(self.states[*place], State::Answered { .. })
                    && is_same(self.message(*place), &returned)
            };
            if let Some(place) = (0..self.states.len()).find(is_it) {
                self.states[place] = State::Done(Fate::Unroutable);
            }
        }
        // Only answers that are still to come could bring what these lack.
        let is_complete = self.is_clean();
        let fate = |state| match state {
            State::Done(fate) => fate,
            State::Answered { with_return: true, .. } if !is_complete => {
                Fate::Refused("it is not known whether the queue has it".to_owned())
            }
            State::Answered { acked: true, .. } => Fate::Confirmed,
            State::Answered { acked: false, .. } => {
                Fate::Refused("the queue refused it: it is full or could not store it".to_owned())
            }
            State::Unsent | State::Sent { .. } => Fate::Refused("it was not sent".to_owned()),
        };
        self.indexes.iter().copied().zip(self.states.into_iter().map(fate)).collect()
    }
}

fn is_same(message: &Publication, returned: &BasicReturnMessage) -> bool {
    message.queue == returned.routing_key.as_str()
        && message.body == returned.data
        && sent_id(message.message_id.as_deref()) == *returned.properties.message_id()
}

enum Stage<'a> {
    Writing(BoxFuture<'a, lapin::Result<PublisherConfirm>>),
    Confirming(PublisherConfirm),
}

/// One message between being sent and being answered.
struct Underway<'a> {
    place: usize,
    stage: Stage<'a>,
    _room: Room,
}

impl Future for Underway<'_> {
    type Output = (usize, lapin::Result<Confirmation>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let answer = match &mut self.stage {
                Stage::Writing(writing) => match std::task::ready!(writing.poll_unpin(cx)) {
                    Ok(confirm) => {
                        self.stage = Stage::Confirming(confirm);
                        continue;
                    }
                    Err(error) => Err(error),
                },
                Stage::Confirming(confirm) => std::task::ready!(confirm.poll_unpin(cx)),
            };
            return Poll::Ready((self.place, answer));
        }
    }
}
