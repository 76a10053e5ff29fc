//! Channels for publishing. Each serves one publish at a time: confirmations and returned messages of one channel then
//! belong together, and what closes a channel harms nobody else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use job_core::{Clock, ClockExt, Shutdown};
use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::Failure;
use crate::live::Live;

/// How many publishes go on at once; more wait for their turn.
const LANES_MAX: usize = 64;
const SUCCESS: u16 = 200;

#[derive(Debug, Default)]
struct Idle {
    epoch: u64,
    channels: Vec<Channel>,
}

/// All lanes of the publishing connection.
#[derive(Debug)]
pub(crate) struct Lanes {
    clock: Arc<dyn Clock>,
    limit: Duration,
    idle: Mutex<Idle>,
    turns: Arc<Semaphore>,
    worn: mpsc::UnboundedSender<Channel>,
}

/// A channel in confirm mode for one publish. Dropped before it was [finished](Self::finish), it is closed.
#[derive(Debug)]
pub(crate) struct Lane {
    channel: Channel,
    pub(crate) live: Arc<Live>,
    lanes: Arc<Lanes>,
    _turn: OwnedSemaphorePermit,
    is_clean: bool,
}

impl Lanes {
    pub(crate) fn new(clock: &Arc<dyn Clock>, limit: Duration, shutdown: &Shutdown) -> Arc<Self> {
        let (worn, to_close) = mpsc::unbounded_channel();
        shutdown.spawn(close_all(to_close, Arc::clone(clock), limit, shutdown.clone()));
        Arc::new(Self {
            clock: Arc::clone(clock),
            limit,
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(LANES_MAX)),
            worn,
        })
    }

    /// A lane on this connection.
    pub(crate) async fn take(self: &Arc<Self>, live: &Arc<Live>) -> Result<Lane, Failure> {
        let taking = async {
            let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Failure::Closed)?;
            let channel = match self.idle(live.epoch, |channels| channels.pop()).flatten() {
                Some(channel) => channel,
                None => {
                    let channel = live.open_channel().await?;
                    channel.confirm_select(ConfirmSelectOptions::default()).await?;
                    channel
                }
            };
            Ok(Lane {
                channel,
                live: Arc::clone(live),
                lanes: Arc::clone(self),
                _turn: turn,
                is_clean: false,
            })
        };
        self.clock.timeout(self.limit, taking).await.map_err(|_| Failure::Silent)?
    }

    fn idle<T>(&self, epoch: u64, use_it: impl FnOnce(&mut Vec<Channel>) -> T) -> Option<T> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.epoch < epoch {
            *idle = Idle { epoch, channels: Vec::new() };
        }
        (idle.epoch == epoch).then(|| use_it(&mut idle.channels))
    }
}

impl Lane {
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Every message sent on it was answered: others may use it.
    pub(crate) fn finish(mut self) {
        self.is_clean = true;
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.channel.status().connected() {
            return;
        }
        let channel = self.channel.clone();
        if self.is_clean {
            self.lanes.idle(self.live.epoch, |channels| channels.push(channel));
        } else {
            // When nobody is there to close it, everything is being closed.
            let _ = self.lanes.worn.send(channel);
        }
    }
}

/// Closes channels in order. A channel that is merely dropped is closed by lapin, but should the broker close it at the
/// same moment, lapin gives up the whole connection.
async fn close_all(
    mut worn: mpsc::UnboundedReceiver<Channel>,
    clock: Arc<dyn Clock>,
    limit: Duration,
    shutdown: Shutdown,
) {
    let mut closing = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.stopping() => return,
            channel = worn.recv() => {
                let Some(channel) = channel else { return };
                let clock = Arc::clone(&clock);
                closing.push(async move {
                    let _ = clock.timeout(limit, channel.close(SUCCESS, "no longer needed".into())).await;
                });
            }
            Some(()) = closing.next(), if !closing.is_empty() => {}
        }
    }
}
