//! One connection, from its first byte to its orderly end.

use std::convert::Infallible;
use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use job_core::{Clock, ClockExt, Shutdown};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::bare_answer::bare_answer;
use super::listener::Way;
use super::places::Place;
use super::site::Site;
use super::unparsed::{self, KeepsBack};

/// How long, and how many bytes, a client that is being told to stop may go on sending before it is cut off.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 32 << 20;

/// Serves requests until the client closes, errs or idles, until `shutdown` stops and the one in hand is answered, or until
/// somebody else needs the `place` of a client that has said nothing yet.
pub(super) async fn serve<S>(stream: S, way: Way, site: Arc<Site>, shutdown: Shutdown, place: Arc<Place>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = site.limits();
    let clock = site.clock();
    let io = TokioIo::new(KeepsBack(stream));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        // Twice what is allowed reaches us, to be refused with a sentence; hyper refuses what is beyond.
        .max_headers(limits.headers_max * 2)
        .max_buf_size(((limits.header_bytes_max + limits.url_bytes_max) * 2).max(16 << 10));
    let (seat, serving) = (Arc::clone(&place), Arc::clone(&site));
    let service = service_fn(move |request| {
        seat.speaks();
        let site = Arc::clone(&serving);
        Box::pin(async move { Ok::<_, Infallible>(site.serve(request, way).await) })
    });
    let mut connection = builder.serve_connection(io, service);
    let (mut stopping, mut lost) = (pin!(shutdown.stopping()), pin!(place.lost()));
    let mut asked_to_stop = false;
    let served = poll_fn(|cx| {
        if !asked_to_stop && stopping.as_mut().poll(cx).is_ready() {
            asked_to_stop = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        if !place.has_spoken() && lost.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        connection.poll_without_shutdown(cx).map(Some)
    })
    .await;
    let Some(served) = served else { return };
    let parts = connection.into_parts();
    let KeepsBack(mut stream) = parts.io.into_inner();
    match served {
        Ok(()) => linger(&mut stream, clock.as_ref(), &shutdown).await,
        Err(error) if error.is_timeout() && !parts.read_buf.is_empty() => {
            let answer = bare_answer("408 Request Timeout", "the head of the request came too slowly");
            let _ = clock.timeout(LINGER, stream.write_all(&answer)).await;
            linger(&mut stream, clock.as_ref(), &shutdown).await;
        }
        Err(error) if error.is_parse() => {
            tracing::debug!(%error, "a request is not understood");
            let answer = unparsed::answer(&error, site.limits());
            let _ = clock.timeout(LINGER, stream.write_all(&answer)).await;
            linger(&mut stream, clock.as_ref(), &shutdown).await;
        }
        Err(error) => tracing::debug!(%error, "a connection ended early"),
    }
}

/// Closes our side and passes over what the client still sends: closing with bytes unread would reset the connection,
/// and the client might never see its answer. A stopping server does not wait for that.
async fn linger<S>(stream: &mut S, clock: &dyn Clock, shutdown: &Shutdown)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let passing_over = async {
        stream.shutdown().await?;
        let mut scrap = [0; 4096];
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            match stream.read(&mut scrap).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        std::io::Result::Ok(())
    };
    tokio::select! {
        biased;
        _ = clock.timeout(LINGER, passing_over) => {}
        () = shutdown.stopping() => {}
    }
}
