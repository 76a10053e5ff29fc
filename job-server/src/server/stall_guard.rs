//! A connection whose client stops reading does not hold its answer for ever.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use job_core::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes per second that a client has to take of an answer, over the time that it is waited for.
const RATE_MIN: u64 = 1 << 10;

/// A stream on which writing fails once the client takes too little for a while.
pub(super) struct StallGuard<S> {
    stream: S,
    clock: Arc<dyn Clock>,
    patience: Duration,
    /// There while the client lags behind.
    lag: Option<Lag>,
}

struct Lag {
    expiry: BoxFuture<'static, ()>,
    /// What it has taken since.
    taken: u64,
}

impl<S> fmt::Debug for StallGuard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StallGuard").finish_non_exhaustive()
    }
}

impl<S> StallGuard<S> {
    pub(super) fn new(stream: S, clock: Arc<dyn Clock>, patience: Duration) -> Self {
        Self { stream, clock, patience, lag: None }
    }

    fn watch(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match (progress, &mut self.lag) {
            (Poll::Ready(Ok(bytes)), Some(lag)) => {
                lag.taken = lag.taken.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
                // A drop now and then does not buy more time; a client that keeps up with the rate is not slow.
                if lag.taken >= self.patience.as_secs().max(1).saturating_mul(RATE_MIN) {
                    self.lag = None;
                }
                Poll::Ready(Ok(bytes))
            }
            (ready @ Poll::Ready(_), _) => ready,
            (Poll::Pending, lag) => {
                let sleep = || Lag { expiry: self.clock.sleep(self.patience), taken: 0 };
                ready!(lag.get_or_insert_with(sleep).expiry.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client does not read its answer",
                )))
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            // Asked for when everything was written: nothing is left to lag behind with.
            self.lag = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
