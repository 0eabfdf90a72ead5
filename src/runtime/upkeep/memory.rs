//! Watches the memory of the process; beyond the limit, caches are cleared.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::core::Core;

/// The interval of looks: memory for client calls is counted in between, and the rest grows slower.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks until the runtime stops.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let memory = &core.parts.memory;
    if memory.is_boundless() {
        return core.stopped.cancelled().await;
    }
    let mut was_short = false;
    while core.stopped.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let short = memory.look();
        if short {
            core.plans.clear();
            core.estimates.clear();
        }
        if short && !was_short {
            tracing::warn!(limit = memory.limit(), "memory is short: calls are refused");
        } else if was_short && !short {
            tracing::info!("memory is no longer short");
            // Threads that waited for memory may be claimed again.
            core.nudge.notify_one();
        }
        was_short = short;
    }
}
