//! SIGTERM and SIGINT: the first asks for an orderly end, the second for an end. SIGHUP ends
//! nothing: keys and the filter of the log are read again.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// Listens from the moment it is made, so that no signal is lost.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    hangups: Arc<Notify>,
}

impl Signals {
    /// Starts to listen.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            hangups: Arc::default(),
        })
    }

    /// Notified of each SIGHUP, for as long as [`Self::next`] is waited for.
    pub(super) fn hangups(&self) -> Arc<Notify> {
        Arc::clone(&self.hangups)
    }

    /// Waits for the next one that ends something and says which.
    pub(super) async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => self.hangups.notify_one(),
            }
        }
    }
}
