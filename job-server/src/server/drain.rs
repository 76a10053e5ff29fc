//! What the operator's signals do.

use job_core::Shutdown;

/// Stops `shutdown` at the first SIGTERM or SIGINT, and ends the process at the second.
pub(crate) async fn stop_on_signals(shutdown: Shutdown) -> std::io::Result<()> {
    let mut signals = Signals::new()?;
    signals.next().await;
    tracing::info!("stopping: requests in hand are finished; a second signal ends the process at once");
    shutdown.stop();
    signals.next().await;
    std::process::exit(130);
}

/// Calls `reload` at every SIGHUP, until it is dropped.
#[cfg(unix)]
pub(crate) async fn reload_on_hangup(reload: impl Fn()) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    while hangups.recv().await.is_some() {
        tracing::info!("reading certificates and opening the audit log anew");
        reload();
    }
    Ok(())
}

#[cfg(not(unix))]
pub(crate) async fn reload_on_hangup(_: impl Fn()) -> std::io::Result<()> {
    std::future::pending().await
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // When it cannot be listened for, it cannot come.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
