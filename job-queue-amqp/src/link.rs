//! A connection that is always being restored: the task behind it reconnects for ever, and users wait for what it has.

use std::sync::Arc;
use std::time::Duration;

use job_core::backoff::Backoff;
use job_core::{Clock, ClockExt, IdSource, RandomIds, Shutdown};
use tokio::sync::watch;

use crate::error::Failure;
use crate::live::Live;
use crate::options::AmqpOptions;

/// How long connecting and logging in may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long saying goodbye may take; a blocked connection cannot say it at all.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
enum State {
    Down { why: String, failures: u32 },
    Up(Arc<Live>),
    Closed,
}

/// A connection for one purpose.
#[derive(Debug)]
pub(crate) struct Link {
    role: &'static str,
    options: AmqpOptions,
    clock: Arc<dyn Clock>,
    state: watch::Sender<State>,
}

impl Link {
    /// Begins to connect.
    pub(crate) fn start(
        role: &'static str,
        options: &AmqpOptions,
        clock: &Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Arc<Self> {
        let state = State::Down { why: "it was not yet connected".to_owned(), failures: 0 };
        let link = Arc::new(Self {
            role,
            options: options.clone(),
            clock: Arc::clone(clock),
            state: watch::Sender::new(state),
        });
        shutdown.spawn(Arc::clone(&link).run(shutdown.clone()));
        link
    }

    /// The connection, if there is one now.
    pub(crate) fn current(&self) -> Result<Arc<Live>, Failure> {
        match &*self.state.borrow() {
            State::Up(live) => Ok(Arc::clone(live)),
            State::Down { why, .. } => Err(Failure::Down(why.clone())),
            State::Closed => Err(Failure::Closed),
        }
    }

    /// The connection, as soon as there is one.
    pub(crate) async fn live(&self, limit: Duration) -> Result<Arc<Live>, Failure> {
        let mut state = self.state.subscribe();
        let up = async {
            // The sender lives in `self`.
            let _ = state.wait_for(|state| !matches!(state, State::Down { .. })).await;
        };
        // Whether it came in time or not, the state says.
        let _ = self.clock.timeout(limit, up).await;
        self.current()
    }

    /// Completes with the first connection or the first failure to connect.
    pub(crate) async fn first_attempt(&self) -> Result<Arc<Live>, Failure> {
        let is_tried = |state: &State| !matches!(state, State::Down { failures: 0, .. });
        // The sender lives in `self`.
        let _ = self.state.subscribe().wait_for(is_tried).await;
        self.current()
    }

    async fn run(self: Arc<Self>, shutdown: Shutdown) {
        let spread = RandomIds.next().as_u64_pair().0;
        let mut failures = 0;
        let mut epoch = 0;
        while !shutdown.is_stopping() {
            epoch += 1;
            let opening = Live::open(&self.options, self.role, epoch, &self.clock, CONNECT_LIMIT);
            let opened = tokio::select! {
                () = shutdown.stopping() => break,
                opened = opening => opened,
            };
            let why = match opened {
                Ok(live) => {
                    tracing::info!(broker = %self.options.endpoint, role = self.role, "connected to the broker");
                    failures = 0;
                    let live = Arc::new(live);
                    let lost = live.watch(self.clock.as_ref());
                    self.state.send_replace(State::Up(Arc::clone(&live)));
                    tokio::select! {
                        () = shutdown.stopping() => {
                            live.close(self.clock.as_ref(), CLOSE_LIMIT).await;
                            break;
                        }
                        () = lost => {}
                    }
                    "the connection was lost".to_owned()
                }
                Err(failure) => failure.reason(),
            };
            let wait = Backoff::RECONNECT.wait(failures, spread);
            failures = failures.saturating_add(1);
            tracing::warn!(
                broker = %self.options.endpoint, role = self.role, reason = why, retry_ms = wait.as_millis(),
                "not connected to the broker"
            );
            self.state.send_replace(State::Down { why, failures });
            tokio::select! {
                () = shutdown.stopping() => {}
                () = self.clock.sleep(wait) => {}
            }
        }
        self.state.send_replace(State::Closed);
    }
}
