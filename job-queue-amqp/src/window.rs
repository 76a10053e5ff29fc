//! How much may be published and not yet confirmed, by all publishes together.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds messages and bytes.
#[derive(Debug)]
pub(crate) struct Window {
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
}

/// Room for one message, until it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _message: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Window {
    pub(crate) fn new(messages: usize, bytes: usize) -> Self {
        let bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            messages: Arc::new(Semaphore::new(messages.min(Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(bytes_max as usize)),
            bytes_max,
        }
    }

    /// Room for a message of this size, if there is some now.
    pub(crate) fn try_enter(&self, bytes: usize) -> Option<Room> {
        let message = Arc::clone(&self.messages).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.bytes).try_acquire_many_owned(self.share(bytes)).ok()?;
        Some(Room { _message: message, _bytes: bytes })
    }

    /// Room for a message of this size, as soon as there is some; first come, first served.
    pub(crate) async fn enter(&self, bytes: usize) -> Room {
        // Always in this order, so that two that have one each never wait for each other.
        let message = Arc::clone(&self.messages).acquire_owned().await;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(self.share(bytes)).await;
        Room {
            _message: message.expect("the window is never closed"),
            _bytes: bytes.expect("the window is never closed"),
        }
    }

    /// A message larger than the whole window has the window to itself.
    fn share(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn messages_and_bytes_are_bounded() {
        let window = Window::new(3, 100);
        let first = window.try_enter(60).unwrap();
        assert!(window.try_enter(60).is_none());
        let _second = window.try_enter(40).unwrap();
        assert!(window.enter(1).now_or_never().is_none());
        drop(first);
        let _third = window.enter(1).now_or_never().unwrap();
        let _fourth = window.try_enter(0).unwrap();
        assert!(window.try_enter(0).is_none());
    }

    #[test]
    fn a_huge_message_has_the_window_to_itself() {
        let window = Window::new(3, 100);
        let huge = window.try_enter(usize::MAX).unwrap();
        assert!(window.try_enter(1).is_none());
        drop(huge);
        let small = window.try_enter(1).unwrap();
        assert!(window.try_enter(101).is_none());
        drop(small);
        assert!(window.try_enter(101).is_some());
    }
}
