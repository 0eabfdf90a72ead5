//! Watches the store's disk: shows its numbers, and ends the process when it cannot be trusted.
//!
//! A failed `fsync` may have lost what was written before it, and a second one succeeds all the
//! same: the kernel takes the pages for clean. Nothing may be acknowledged after that by the process
//! that saw it. Started by `start`; runs until the server drains.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::core::Core;

/// How often the numbers are shown: as often as a heartbeat makes them new.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches until the server drains. Should it return before that, the process ends.
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
