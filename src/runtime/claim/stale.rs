//! Looks for threads that this replica owns but does not drive any more: whatever went wrong with
//! them, they are adopted again and go on from their journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::runtime::core::Core;

/// The number of looks per `RETHREAD_STALE_AFTER`, so that no thread is stuck for much longer than
/// that.
const LOOKS: u32 = 4;

/// Makes the dispatcher look for such threads at intervals, until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let interval = core.parts.settings.stale_after / LOOKS;
    let stop = core.draining.clone();
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        core.doubt.store(true, Ordering::Release);
        core.nudge.notify_one();
    }
}
