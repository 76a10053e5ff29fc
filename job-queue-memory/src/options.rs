//! What an operator may decide about queues in memory.

use std::collections::BTreeMap;

/// Settings of a [`MemoryQueue`](crate::MemoryQueue); they hold for each of its queues alone.
///
/// ```
/// use job_queue_memory::MemoryQueueOptions;
///
/// let options = MemoryQueueOptions { capacity_messages: 1_000, ..MemoryQueueOptions::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryQueueOptions {
    /// Whether publishing declares a missing queue; otherwise the message is unroutable.
    pub declare_on_publish: bool,
    /// How many messages a queue holds, waiting and in hand, before it refuses more.
    pub capacity_messages: usize,
    /// How many bytes of bodies and headers a queue holds, waiting and in hand, before it refuses more.
    pub capacity_bytes: usize,
    /// Where rejected messages go, by the queue they came from. A rejected message of any other queue is dropped, and
    /// so is one that its dead-letter queue has no room for.
    pub dead_letter_queues: BTreeMap<String, String>,
}

impl Default for MemoryQueueOptions {
    /// Declares on publish; ten million messages and one GiB per queue; rejected messages are dropped.
    fn default() -> Self {
        Self {
            declare_on_publish: true,
            capacity_messages: 10_000_000,
            capacity_bytes: 1 << 30,
            dead_letter_queues: BTreeMap::new(),
        }
    }
}
