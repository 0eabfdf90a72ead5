//! Looks for threads that this replica owns and that nothing here drives any more: whatever went
//! wrong with them, they are adopted again and go on from their journal.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::runtime::core::Core;

/// Looks per `RETHREAD_STALE_AFTER`, so that no thread stands still for much longer than that.
const LOOKS: u32 = 4;

/// Lets the dispatcher look now and then until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let interval = core.parts.settings.stale_after / LOOKS;
    let stop = core.draining.clone();
    while stop.run_until_cancelled(tokio::time::sleep(interval)).await.is_some() {
        core.doubt.store(true, Ordering::Release);
        core.nudge.notify_one();
    }
}
