//! Looks for replicas whose processes are gone, so that their threads need not wait for a lease.
//!
//! Only a store that several processes share can find any. The store judges; the dispatcher claims.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::core::Core;

/// The time between two looks. Two in a row must agree, so a lost process is noticed in about a
/// second.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let stop = core.draining.clone();
    while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
        let authority = core.authority();
        if !authority.holds() {
            continue;
        }
        match core.store().expire_lost(authority.incarnation).await {
            Ok(0) => {}
            Ok(_) => core.nudge.notify_one(),
            Err(error) => core.availability.failed("the look for lost replicas", &error),
        }
    }
}
