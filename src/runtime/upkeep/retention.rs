//! Deletes terminal threads after `RETHREAD_RETENTION`.

use std::sync::Arc;
use std::time::Duration;

use crate::model::{Timestamp, signed_millis};
use crate::runtime::core::Core;

/// The interval of deletions: retention is counted in days.
const INTERVAL: Duration = Duration::from_mins(1);
/// The number of threads deleted with one statement: it is short enough to delay nobody.
const BATCH: usize = 200;

/// Deletes in small batches until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let stop = core.draining.clone();
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let kept = signed_millis(core.parts.settings.retention);
        let now = core.parts.clock.now().millis();
        let before = Timestamp::from_millis(now.saturating_sub(kept));
        loop {
            match core.store().expire(before, BATCH).await {
                Ok(count) if count < BATCH || core.draining.is_cancelled() => break,
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => {
                    tracing::warn!(%error, "cannot delete old threads");
                    break;
                }
            }
        }
    }
}
