//! Watches the store's disk: exports its numbers, tells when it is nearly full, tries whether an outage is
//! over, and ends the process when the disk cannot be trusted.
//!
//! A failed `fsync` may have lost the writes before it, and a second one succeeds all the same,
//! because the kernel takes the pages for clean. After that the process that saw the failure may
//! acknowledge nothing. Started by `start`; runs until the server drains.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::runtime::calls::storage;
use crate::runtime::core::Core;
use crate::store::{Disk, StoreError};

/// The interval at which the numbers are exported: as often as a heartbeat refreshes them.
const INTERVAL: Duration = Duration::from_secs(1);
/// Timeout of one trial: the next one may find a new connection.
const PATIENCE: Duration = Duration::from_secs(3);

/// Watches until the server drains. If it returns before that, the process ends.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let watch = async {
        let mut was_low = false;
        loop {
            if let Some(disk) = core.store().disk() {
                export(&core, disk);
                was_low = tell(&core, was_low);
            }
            if core.availability.is_out() {
                attempt(&core).await;
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

fn export(core: &Core, disk: Disk) {
    let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    core.parts.metrics.storage_log_bytes.set(number(disk.log_bytes));
    core.parts.metrics.storage_free_bytes.set(number(disk.free_bytes));
}

/// Logs that the disk has become nearly full, or has room again; returns whether it is nearly full.
fn tell(core: &Core, was_low: bool) -> bool {
    let low = storage::low(core);
    match low {
        Some((free, reserve)) if !was_low => {
            tracing::warn!(free, reserve, "the disk is nearly full: nothing new is taken");
        }
        None if was_low => tracing::info!("the disk has room again"),
        Some(_) | None => {}
    }
    low.is_some()
}

/// Tries whether the store takes writes again, so that an outage ends when nobody calls, too.
async fn attempt(core: &Core) {
    let sent = Instant::now();
    let tried = tokio::time::timeout(PATIENCE, core.store().takes_writes()).await;
    let late = || Err(StoreError::Unavailable("no answer in time".to_owned()));
    core.availability.tried(sent, tried.unwrap_or_else(|_late| late()).err().as_ref());
}
