//! The queues by name, each behind its own lock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use job_core::queue::{Publication, PublishOutcome};
use job_core::{Error, Result};

use crate::contents::Contents;
use crate::message::Message;
use crate::options::MemoryQueueOptions;

/// The longest name that AMQP can carry, so that a name which works here works on a broker as well.
const NAME_BYTES_MAX: usize = 255;

/// Tells a consumer of dead letters where the message came from.
const FIRST_DEATH_QUEUE: &str = "x-first-death-queue";

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) options: MemoryQueueOptions,
    /// A queue that was deleted stays as an undeclared entry: its consumers and publishers may still hold it.
    queues: RwLock<HashMap<String, Arc<Queue>>>,
    connections: AtomicU64,
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) name: String,
    contents: Mutex<Contents>,
}

impl Queue {
    /// For what gives nobody anything to do; no user code runs under the lock, so poison means nothing.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change, hands out what can be handed out now, and wakes its receivers once the lock is released.
    pub(crate) fn change<R>(&self, change: impl FnOnce(&mut Contents) -> R) -> R {
        let mut contents = self.lock();
        let result = change(&mut contents);
        let wakers = contents.dispatch();
        drop(contents);
        wakers.into_iter().for_each(std::task::Waker::wake);
        result
    }
}

impl Broker {
    pub(crate) fn new(options: MemoryQueueOptions) -> Self {
        Self { options, queues: RwLock::default(), connections: AtomicU64::new(0) }
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// The entry of that name, declared or not, if there is one.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The entry of that name, made when it is missing.
    pub(crate) fn entry(&self, name: &str) -> Result<Arc<Queue>> {
        if let Some(queue) = self.find(name) {
            return Ok(queue);
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::invalid(format!("a queue's name has between 1 and {NAME_BYTES_MAX} bytes"))
                .with_context("queue", name));
        }
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        let queue = queues.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Queue { name: name.to_owned(), contents: Mutex::new(Contents::default()) })
        });
        Ok(Arc::clone(queue))
    }

    /// All entries, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Queue>> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Publishes messages in order; neighbours for one queue share one turn of its lock.
    pub(crate) fn publish(&self, messages: Vec<Publication>) -> Vec<PublishOutcome> {
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter().peekable();
        while let Some(first) = messages.next() {
            let queue = if self.options.declare_on_publish {
                self.entry(&first.queue)
                    .map_err(|error| PublishOutcome::Refused { reason: error.message().to_owned() })
            } else {
                self.find(&first.queue).ok_or(PublishOutcome::Unroutable)
            };
            let queue = match queue {
                Ok(queue) => queue,
                Err(outcome) => {
                    outcomes.push(outcome);
                    continue;
                }
            };
            queue.change(|contents| {
                outcomes.push(contents.publish(first, &self.options));
                while let Some(next) = messages.next_if(|next| next.queue == queue.name) {
                    outcomes.push(contents.publish(next, &self.options));
                }
            });
        }
        outcomes
    }

    /// Moves rejected messages to where the operator wants them; without such a place they are dropped.
    pub(crate) fn dead_letter(&self, from: &str, rejected: Vec<Message>) {
        let Some(to) = self.options.dead_letter_queues.get(from) else { return };
        let letters = rejected.into_iter().map(|Message { body, mut headers, message_id, .. }| {
            headers.entry(FIRST_DEATH_QUEUE.to_owned()).or_insert_with(|| from.to_owned());
            Publication { queue: to.clone(), body, headers, message_id }
        });
        self.publish(letters.collect());
    }
}
