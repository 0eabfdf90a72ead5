//! SIGTERM and SIGINT: the first asks for an orderly end, the second for an end at once. SIGHUP
//! ends nothing: it makes the server read the keys and the filter of the log again.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// The signals of this process, from the moment this is made, so that none is lost.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    hangups: Arc<Notify>,
}

impl Signals {
    /// The name of the signal that asks for an end with the delay.
    pub(super) const TERMINATE: &str = "SIGTERM";

    /// Starts to listen.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            hangups: Arc::default(),
        })
    }

    /// Returns the notification of each SIGHUP, given for as long as [`Self::next`] is awaited.
    pub(super) fn hangups(&self) -> Arc<Notify> {
        Arc::clone(&self.hangups)
    }

    /// Waits for the next signal that ends something and returns its name.
    pub(super) async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Self::TERMINATE,
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => self.hangups.notify_one(),
            }
        }
    }
}
