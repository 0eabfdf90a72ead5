//! Active threads at a glance, and which of them look stuck.

use super::explain::explain;
use super::patience::{listed, shown};
use super::query::item;
use crate::contract::{CauseKind, Monitor, MonitoredThread};
use crate::model::{Namespace, StepId, ThreadStatus, Timestamp, millis};
use crate::runtime::claim::recoveries;
use crate::runtime::core::Core;
use crate::runtime::types::RuntimeError;
use crate::store::{ThreadFilter, ThreadRow};

/// Lists threads of a namespace that have not ended, newest first, at most `limit`.
pub(in crate::runtime) async fn monitor(
    core: &Core,
    namespace: &Namespace,
    limit: usize,
) -> Result<Monitor, RuntimeError> {
    let now = core.parts.clock.now();
    let mut rows = Vec::new();
    let active = ThreadStatus::ALL.iter().copied().filter(|status| !status.is_terminal());
    for status in active {
        let filter = ThreadFilter {
            namespace: namespace.clone(),
            status: Some(status),
            ..ThreadFilter::default()
        };
        let look = || async { Ok(core.store().threads(&filter, limit).await?) };
        rows.extend(listed(core, namespace, look).await?);
    }
    rows.sort_by(|a, b| (b.created_at, &b.thread_id).cmp(&(a.created_at, &a.thread_id)));
    rows.truncate(limit);
    let mut active = Vec::with_capacity(rows.len());
    for row in rows {
        active.push(watch(core, row, now).await?);
    }
    Ok(Monitor {
        stuck: active.iter().filter(|thread| thread.stuck.is_some()).count(),
        active,
        driving: core.driven.count(),
        capacity: core.parts.settings.max_running,
    })
}

async fn watch(
    core: &Core,
    row: ThreadRow,
    now: Timestamp,
) -> Result<MonitoredThread, RuntimeError> {
    let idle = now.since(row.updated_at);
    let stuck = stuck(core, &row, now).await?;
    let idle_ms = millis(idle);
    // Only the journals of threads that look stuck are read.
    let cause = if stuck.is_some() { cause(core, &row).await? } else { None };
    Ok(MonitoredThread { thread: item(row), idle_ms, stuck, cause })
}

/// Returns the first cause that `explain` gives for a thread; `None` if the thread is gone by now.
async fn cause(core: &Core, row: &ThreadRow) -> Result<Option<CauseKind>, RuntimeError> {
    match explain(core, &row.thread_id).await {
        Ok(told) => Ok(told.causes.first().map(|cause| cause.kind)),
        Err(RuntimeError::ThreadNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns why a thread looks stuck; `None` if it moves, or is meant to wait.
pub(in crate::runtime) async fn stuck(
    core: &Core,
    row: &ThreadRow,
    now: Timestamp,
) -> Result<Option<String>, RuntimeError> {
    if row.summary.status.is_terminal() {
        return Ok(None);
    }
    if let Some(why) = left_alone(core, row, now).await? {
        return Ok(Some(why));
    }
    if !row.summary.stale_steps.is_empty() && is_driven(core, row).await? {
        let steps: Vec<&str> = row.summary.stale_steps.iter().map(StepId::as_str).collect();
        return Ok(Some(format!("attempts without a sign of life: {}", steps.join(", "))));
    }
    if now.since(row.updated_at) <= core.parts.settings.stale_after {
        return Ok(None);
    }
    if row.owner == 0 {
        return Ok(waits(core, row, now));
    }
    // Its driver waits for an attempt that takes its time: the attempt's own limits judge it.
    if !row.summary.current_steps.is_empty() && is_driven(core, row).await? {
        return Ok(None);
    }
    let steps: Vec<&str> = row.summary.current_steps.iter().map(StepId::as_str).collect();
    Ok(Some(format!("no event since {}; under way: {}", row.updated_at, steps.join(", "))))
}

/// Returns why a thread cannot be recovered; `None` if no recovery has failed.
async fn left_alone(
    core: &Core,
    row: &ThreadRow,
    now: Timestamp,
) -> Result<Option<String>, RuntimeError> {
    // A failed recovery sets a thread aside for no longer than this: one that sleeps longer needs
    // no look.
    let latest = now.plus(recoveries::LONGEST_PAUSE);
    let Some(due) = row.wake_at.filter(|due| row.owner == 0 && *due <= latest) else {
        return Ok(None);
    };
    let failure = recoveries::failure(core, row).await?;
    Ok(failure.map(|detail| format!("cannot be recovered, tried again at {due}: {detail}")))
}

/// Returns whether a live replica drives the thread.
async fn is_driven(core: &Core, row: &ThreadRow) -> Result<bool, RuntimeError> {
    if core.driven.has(&row.thread_id) {
        return Ok(true);
    }
    // For a thread that this replica owns without a driver, a valid lease says nothing.
    if row.owner == core.authority().incarnation {
        return Ok(false);
    }
    let look = || async { Ok(core.shown.store().owner(&row.thread_id).await?.is_some()) };
    shown(core, &row.thread_id.namespace(), look).await
}

/// Returns why a thread that nobody drives looks stuck.
fn waits(core: &Core, row: &ThreadRow, now: Timestamp) -> Option<String> {
    match row.wake_at {
        Some(due) if due > now => None,
        Some(_) if core.room_for(&row.thread_id.namespace()) == 0 => {
            Some("waits for a replica with room".to_owned())
        }
        Some(due) => Some(format!("due since {due}, but no replica has taken it")),
        None => None,
    }
}
