//! A message as a queue keeps it.

use bytes::Bytes;
use job_core::queue::{Headers, Publication};

/// A message that a queue has confirmed.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// Its place in the order of publication on its queue.
    pub(crate) sequence: u64,
    pub(crate) body: Bytes,
    pub(crate) headers: Headers,
    pub(crate) message_id: Option<String>,
    /// How often a consumer had it in hand before.
    pub(crate) redeliveries: u32,
}

impl Message {
    /// What it counts towards a queue's capacity.
    pub(crate) fn size(&self) -> usize {
        size_of(self.body.len(), &self.headers)
    }
}

/// What a publication would count towards a queue's capacity.
pub(crate) fn publication_size(publication: &Publication) -> usize {
    size_of(publication.body.len(), &publication.headers)
}

fn size_of(body: usize, headers: &Headers) -> usize {
    headers.iter().fold(body, |sum, (name, value)| sum + name.len() + value.len())
}
