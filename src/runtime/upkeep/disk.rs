//! Watches the store's disk: exports its numbers, and ends the process when the disk cannot be
//! trusted.
//!
//! A failed `fsync` may have lost the writes before it, and a second one succeeds all the same,
//! because the kernel takes the pages for clean. After that the process that saw the failure may
//! acknowledge nothing. Started by `start`; runs until the server drains.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::core::Core;

/// The interval at which the numbers are exported: as often as a heartbeat refreshes them.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches until the server drains. If it returns before that, the process ends.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let watch = async {
        loop {
            if let Some(disk) = core.store().disk() {
                let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
                core.parts.metrics.storage_log_bytes.set(number(disk.log_bytes));
                core.parts.metrics.storage_free_bytes.set(number(disk.free_bytes));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        () = core.draining.cancelled() => {}
        () = core.store().failed() => {
            tracing::error!("the store has failed: this process must end, and a new one begin");
        }
        () = watch => {}
    }
}
