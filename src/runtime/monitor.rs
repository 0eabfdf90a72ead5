//! Active threads at a glance, and which of them look stuck.

use super::core::Core;
use super::handle::{Monitor, MonitoredThread, RuntimeError};
use super::query::{item, persistently};
use crate::model::{StepId, ThreadStatus, Timestamp};
use crate::store::{ThreadFilter, ThreadRow};

/// Threads that have not ended, newest first, at most `limit` of each status.
pub(super) async fn monitor(core: &Core, limit: usize) -> Result<Monitor, RuntimeError> {
    let now = core.parts.clock.now();
    let mut rows = Vec::new();
    let active = ThreadStatus::ALL.iter().copied().filter(|status| !status.is_terminal());
    for status in active {
        let filter = ThreadFilter { status: Some(status), ..ThreadFilter::default() };
        rows.extend(
            persistently(core, || async { Ok(core.store().threads(&filter, limit).await?) })
                .await?,
        );
    }
    rows.sort_by(|a, b| (b.created_at, &b.thread_id).cmp(&(a.created_at, &a.thread_id)));
    rows.truncate(limit);
    let active: Vec<_> = rows.into_iter().map(|row| watch(core, row, now)).collect();
    Ok(Monitor {
        stuck: active.iter().filter(|thread| thread.stuck.is_some()).count(),
        active,
        driving: core.driving(),
        capacity: core.parts.settings.max_running,
    })
}

fn watch(core: &Core, row: ThreadRow, now: Timestamp) -> MonitoredThread {
    let idle = now.since(row.updated_at);
    let stuck = (idle > core.parts.settings.stale_after).then(|| reason(core, &row, now)).flatten();
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    MonitoredThread { thread: item(row), idle_ms, stuck }
}

/// Why a thread without a recent event looks stuck; `None` if it is meant to wait.
fn reason(core: &Core, row: &ThreadRow, now: Timestamp) -> Option<String> {
    // A driver here waits for an attempt that takes its time: the attempt's timeout judges it.
    if core.drives(&row.thread_id) && !row.summary.current_steps.is_empty() {
        return None;
    }
    if row.owner != 0 {
        let steps: Vec<&str> = row.summary.current_steps.iter().map(StepId::as_str).collect();
        return Some(format!("no event since {}; under way: {}", row.updated_at, steps.join(", ")));
    }
    match row.wake_at {
        Some(due) if due > now => None,
        Some(_) if core.room() == 0 => Some("waits for a replica with room".to_owned()),
        Some(due) => Some(format!("due since {due}, but no replica has taken it")),
        None => None,
    }
}
