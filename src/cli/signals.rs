//! The signals of the system that `serve` and `sandbox` handle: those that end the process, and those that would end it otherwise.
//!
//! Invariant: a signal is caught from the call of its function on, also before the returned value is used. Deliberately absent: the effect
//! of a signal, which the commands have.

use std::sync::Arc;
use tokio::sync::Notify;

/// Notified at each SIGHUP. It is caught from this call on: otherwise it would end the process.
pub(super) fn hangups() -> Arc<Notify> {
    let requested = Arc::new(Notify::new());
    #[cfg(unix)]
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        Ok(mut hangup) => {
            let requested = Arc::clone(&requested);
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    requested.notify_one();
                }
            });
        }
        Err(error) => tracing::error!(%error, "cannot catch SIGHUP, so that it does not reload the configuration"),
    }
    requested
}

/// From this call on, a write beyond the largest file that the process may write (`ulimit -f`) is an error, as on a full disk. Otherwise
/// the system ends the process.
pub(super) fn outlive_full_files() {
    #[cfg(unix)]
    {
        let kind = tokio::signal::unix::SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        // The handler stays registered after this value is dropped.
        if let Err(error) = tokio::signal::unix::signal(kind) {
            tracing::warn!(%error, "cannot catch SIGXFSZ: a write beyond the limit on file sizes ends this process");
        }
    }
}

/// Waits for SIGTERM or SIGINT (Ctrl-C). Signals are caught from this call on, not from the first poll, so that a signal that
/// arrives during the start shuts the process down in order.
pub(super) fn shutdown_signal() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).and_then(|terminate| Ok((terminate, signal(SignalKind::interrupt())?)))
    };
    async move {
        #[cfg(unix)]
        match signals {
            Ok((mut terminate, mut interrupt)) => {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot catch signals; stop this process with SIGKILL");
                std::future::pending::<()>().await;
            }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
