//! One queue's messages and consumers, and who gets what: no locks, no tasks, no clocks.

use std::collections::{BTreeMap, VecDeque};
use std::task::{Context, Poll, Waker};

use job_core::queue::{Publication, PublishOutcome, Settlement};

use crate::message::{Message, publication_size};
use crate::options::MemoryQueueOptions;
use crate::slots::{Key, Slots};

/// Room that an emptied queue keeps, so that a steady trickle does not allocate.
const CAPACITY_KEPT: usize = 1_024;

/// What a queue holds.
///
/// A message is in exactly one place: `waiting` or `returned`, a member's `assigned` or its `in_hand`.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    declared: bool,
    next_sequence: u64,
    /// Messages before this one were on a queue of the same name that was deleted: they never go back.
    first_sequence: u64,
    /// Never delivered yet, oldest first.
    waiting: VecDeque<Message>,
    /// Delivered in vain, by sequence; apart from `waiting`, because they come back in any order.
    returned: BTreeMap<u64, Message>,
    members: Slots<Member>,
    /// Members with room within their prefetch, whose turn is next first.
    turns: VecDeque<Key>,
    held_messages: usize,
    held_bytes: usize,
}

/// One consumer, from its start until it is gone and its last delivery is settled.
#[derive(Debug)]
struct Member {
    connection: u64,
    prefetch: usize,
    /// Its stream is there to take more.
    listening: bool,
    /// It has an entry in `turns`.
    has_turn: bool,
    /// Its own, not yet taken from the stream.
    assigned: VecDeque<Message>,
    /// Taken and not settled; a copy goes with the delivery.
    in_hand: Slots<Message>,
    waker: Option<Waker>,
}

impl Member {
    fn has_room(&self) -> bool {
        self.listening && self.assigned.len() + self.in_hand.len() < self.prefetch
    }
}

/// The consumer was cut off by the close of its connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CutOff;

impl Contents {
    pub(crate) fn declare(&mut self) {
        self.declared = true;
    }

    /// How many messages wait, or `None` while the queue is not declared.
    pub(crate) fn depth(&self) -> Option<usize> {
        self.declared.then(|| self.waiting.len() + self.returned.len())
    }

    /// Accepts a message, unless the queue is missing or full.
    pub(crate) fn publish(
        &mut self,
        publication: Publication,
        options: &MemoryQueueOptions,
    ) -> PublishOutcome {
        if !self.declared {
            if !options.declare_on_publish {
                return PublishOutcome::Unroutable;
            }
            self.declared = true;
        }
        let size = publication_size(&publication);
        if self.held_messages >= options.capacity_messages {
            let reason = format!("the queue holds {} messages and takes no more", self.held_messages);
            return PublishOutcome::Refused { reason };
        }
        if size > options.capacity_bytes.saturating_sub(self.held_bytes) {
            let reason = format!("the queue holds {} bytes and has no room for {size} more", self.held_bytes);
            return PublishOutcome::Refused { reason };
        }
        self.held_messages += 1;
        self.held_bytes += size;
        let Publication { body, headers, message_id, .. } = publication;
        let sequence = self.next_sequence;
        self.waiting.push_back(Message { sequence, body, headers, message_id, redeliveries: 0 });
        self.next_sequence += 1;
        PublishOutcome::Confirmed
    }

    /// Adds a consumer, which declares the queue.
    pub(crate) fn join(&mut self, connection: u64, prefetch: u16) -> Key {
        self.declared = true;
        let key = self.members.insert(Member {
            connection,
            prefetch: usize::from(prefetch),
            listening: true,
            has_turn: false,
            assigned: VecDeque::new(),
            in_hand: Slots::default(),
            waker: None,
        });
        self.take_turns_again(key);
        key
    }

    /// Hands out what waits to those with room, one each in turn; the caller wakes who is returned, outside any lock.
    pub(crate) fn dispatch(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(key) = self.turns.front().copied() {
            let Some(member) = self.members.get_mut(key).filter(|member| member.has_room()) else {
                self.turns.pop_front();
                if let Some(member) = self.members.get_mut(key) {
                    member.has_turn = false;
                }
                continue;
            };
            let Some(message) = next_message(&mut self.waiting, &mut self.returned) else { break };
            member.assigned.push_back(message);
            wakers.extend(member.waker.take());
            self.turns.rotate_left(1);
        }
        wakers
    }

    /// The next delivery of a consumer with its tag; `None` once its connection is closed.
    pub(crate) fn poll_take(&mut self, key: Key, cx: &Context<'_>) -> Poll<Option<(u64, Message)>> {
        let Some(member) = self.members.get_mut(key) else { return Poll::Ready(None) };
        let Some(message) = member.assigned.pop_front() else {
            match &mut member.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        };
        let tag = member.in_hand.insert(message.clone()).tag();
        Poll::Ready(Some((tag, message)))
    }

    /// Ends deliveries; returns those that were rejected.
    pub(crate) fn settle(
        &mut self,
        key: Key,
        tags: &[u64],
        settlement: Settlement,
    ) -> Result<Vec<Message>, CutOff> {
        let member = self.members.get_mut(key).ok_or(CutOff)?;
        let mut rejected = Vec::new();
        for message in tags.iter().filter_map(|tag| member.in_hand.remove(Key::from_tag(*tag))) {
            if settlement == Settlement::Requeue && self.declared && message.sequence >= self.first_sequence {
                put_back(&mut self.returned, message, true);
                continue;
            }
            self.held_messages -= 1;
            self.held_bytes -= message.size();
            if settlement == Settlement::Reject {
                rejected.push(message);
            }
        }
        if !member.listening && member.in_hand.is_empty() {
            self.members.remove(key);
        } else {
            self.take_turns_again(key);
        }
        Ok(rejected)
    }

    /// A consumer's stream is gone: what it did not take goes back, what it took stays in hand.
    pub(crate) fn leave(&mut self, key: Key) {
        let Some(member) = self.members.get_mut(key) else { return };
        member.listening = false;
        member.waker = None;
        self.turns.retain(|turn| *turn != key);
        for message in std::mem::take(&mut member.assigned) {
            put_back(&mut self.returned, message, false);
        }
        if member.in_hand.is_empty() {
            self.members.remove(key);
        }
    }

    /// A connection is gone: all that its consumers hold goes back. The caller wakes who is returned.
    pub(crate) fn cut_off(&mut self, connection: u64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        let keys: Vec<Key> = self
            .members
            .iter()
            .filter_map(|(key, member)| (member.connection == connection).then_some(key))
            .collect();
        self.turns.retain(|turn| !keys.contains(turn));
        for member in keys.into_iter().filter_map(|key| self.members.remove(key)) {
            wakers.extend(member.waker);
            for message in member.assigned {
                put_back(&mut self.returned, message, false);
            }
            for message in member.in_hand.into_values() {
                if self.declared && message.sequence >= self.first_sequence {
                    put_back(&mut self.returned, message, true);
                } else {
                    self.held_messages -= 1;
                    self.held_bytes -= message.size();
                }
            }
        }
        wakers
    }

    /// Forgets what waits and returns how much that was.
    pub(crate) fn purge(&mut self) -> usize {
        let dropped = self.waiting.len() + self.returned.len();
        let waiting = std::mem::take(&mut self.waiting);
        let returned = std::mem::take(&mut self.returned);
        for message in waiting.iter().chain(returned.values()) {
            self.held_messages -= 1;
            self.held_bytes -= message.size();
        }
        dropped
    }

    /// Forgets the queue with all that nobody has in hand; its consumers stay, in case it is declared again.
    pub(crate) fn delete(&mut self) -> bool {
        let keys: Vec<Key> = self.members.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(member) = self.members.get_mut(key) {
                for message in std::mem::take(&mut member.assigned) {
                    put_back(&mut self.returned, message, false);
                }
                self.take_turns_again(key);
            }
        }
        self.purge();
        self.first_sequence = self.next_sequence;
        std::mem::replace(&mut self.declared, false)
    }

    fn take_turns_again(&mut self, key: Key) {
        if let Some(member) = self.members.get_mut(key)
            && member.has_room()
            && !member.has_turn
        {
            member.has_turn = true;
            self.turns.push_back(key);
        }
    }
}

/// A message goes back to its old place; it counts as delivered only when somebody had it in hand.
fn put_back(returned: &mut BTreeMap<u64, Message>, mut message: Message, was_in_hand: bool) {
    message.redeliveries = message.redeliveries.saturating_add(u32::from(was_in_hand));
    returned.insert(message.sequence, message);
}

/// Takes the oldest message.
fn next_message(waiting: &mut VecDeque<Message>, returned: &mut BTreeMap<u64, Message>) -> Option<Message> {
    if let Some(entry) = returned.first_entry()
        && waiting.front().is_none_or(|front| *entry.key() < front.sequence)
    {
        return Some(entry.remove());
    }
    let message = waiting.pop_front();
    // A burst's memory goes back to the allocator, in halves: each costs less than the messages that made room.
    if waiting.capacity() > CAPACITY_KEPT && waiting.len() < waiting.capacity() / 8 {
        waiting.shrink_to((waiting.capacity() / 2).max(CAPACITY_KEPT));
    }
    message
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_burst_leaves_no_room_behind() {
        let mut contents = Contents::default();
        let options = MemoryQueueOptions::default();
        for _ in 0..100_000 {
            contents.publish(Publication::new("q", "{}"), &options);
        }
        let key = contents.join(0, 10);
        let cx = Context::from_waker(Waker::noop());
        loop {
            contents.dispatch();
            let Poll::Ready(taken) = contents.poll_take(key, &cx) else { break };
            let (tag, _) = taken.unwrap();
            contents.settle(key, &[tag], Settlement::Ack).unwrap();
        }
        assert!(contents.waiting.capacity() <= 2 * CAPACITY_KEPT);
        assert_eq!((contents.held_messages, contents.held_bytes), (0, 0));
        assert_eq!(contents.members.get_mut(key).map(|member| member.in_hand.len()), Some(0));
    }

    #[test]
    fn consumers_that_come_and_go_leave_no_turns_behind() {
        let mut contents = Contents::default();
        contents.join(0, 1);
        for _ in 0..1_000 {
            let key = contents.join(0, 1);
            contents.dispatch();
            contents.leave(key);
        }
        assert_eq!((contents.members.len(), contents.turns.len()), (1, 1));
    }
}
