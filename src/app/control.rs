//! A thread with a runtime of its own, for work that must go on while every other thread stands:
//! the lease with its connections, the session that shows that this replica lives, the watchdog,
//! and the end of a process that does not end by itself.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::telemetry;

/// Name of the thread.
const NAME: &str = "rethread-control";
/// Exit code of a process whose workers stood for longer than its lease.
pub const STOOD: i32 = 3;
/// Exit code of a process that did not end in good order.
const FAILED: i32 = 1;
/// The time that an orderly end may take beyond the grace: the last writes, the handover of threads
/// and the last connections, each within its own bound, on a busy machine.
const ENDING: Duration = Duration::from_secs(15);

/// The control thread. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Control {
    handle: Handle,
    stop: CancellationToken,
}

impl Control {
    /// Starts the thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        std::thread::Builder::new()
            .name(NAME.to_owned())
            .spawn(move || runtime.block_on(stopped.cancelled()))?;
        Ok(Self { handle, stop })
    }

    /// Returns the handle for work that runs on the control thread.
    pub(super) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Ends the process when its workers stand, which is when `stand` resolves, or when `stand` panics.
    pub(super) fn guard(&self, stand: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(async move {
            if AssertUnwindSafe(stand).catch_unwind().await.is_err() {
                tracing::error!(
                    exit_code = FAILED,
                    "nobody looks at the workers: the process ends"
                );
                end(FAILED);
            }
            tracing::error!(exit_code = STOOD, "workers have stood for too long: the process ends");
            end(STOOD);
        });
    }

    /// Ends the process if it was asked to end and has not done so after the grace and [`ENDING`].
    pub(super) fn see_to_the_end(&self, stop: CancellationToken, grace: Duration) {
        self.handle.spawn(async move {
            asked(&stop).await;
            tokio::time::sleep(grace.saturating_add(ENDING)).await;
            tracing::error!(exit_code = FAILED, "the process does not end by itself: it is ended");
            end(FAILED);
        });
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Waits until the process is asked to end, also by a signal: the task that otherwise hears of
/// signals may stand.
async fn asked(stop: &CancellationToken) {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else { return stop.cancelled().await };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

#[expect(
    clippy::exit,
    reason = "threads that stand never return: no end in good order waits for them"
)]
fn end(code: i32) {
    telemetry::finish();
    std::process::exit(code)
}
