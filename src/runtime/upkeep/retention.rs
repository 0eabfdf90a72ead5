//! Deletes terminal threads after `RETHREAD_RETENTION`.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Timestamp, signed_millis};
use crate::runtime::core::Core;

/// The interval of looks for what large threads left when they were deleted: their ids are free once
/// that is gone.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// The number of these looks to one for old threads, every minute: retention is counted in days.
const LOOKS: u32 = 6;
/// The number of threads looked at together: the store deletes fewer if they are large.
const BATCH: usize = 200;

/// Deletes in small batches until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let work = async {
        for look in (1..=LOOKS).cycle() {
            tokio::time::sleep(SWEEP_EVERY).await;
            if look == LOOKS {
                expire(&core).await;
            }
            if let Err(error) = core.store().sweep().await {
                core.availability.failed("the removal of deleted threads", &error);
            }
        }
    };
    // Nothing is half done if it ends between two statements.
    core.draining.run_until_cancelled(work).await;
}

async fn expire(core: &Core) {
    let kept = signed_millis(core.parts.settings.retention);
    let now = core.parts.clock.now().millis();
    let before = Timestamp::from_millis(now.saturating_sub(kept));
    loop {
        match core.store().expire(before, BATCH).await {
            Ok(0) => return,
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => {
                return core.availability.failed("the deletion of old threads", &error);
            }
        }
    }
}
