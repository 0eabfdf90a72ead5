//! Decides when a thread's state is worth a snapshot, and stores it beside the thread's work.
//!
//! A snapshot saves a load from reading the journal before it. It is never needed, so it never
//! delays a thread: there are a few writers at most, none waits, and a failed write is not retried.
//! The kinds:
//!
//! - `pause`: at every pause, since a person may take days, and then wants the thread at once.
//! - `periodic`: once [`RuntimeSettings::snapshot_every`] events were appended since the last
//!   snapshot, and at least as many bytes as that snapshot has (for the first one: as a snapshot of
//!   the beginning would have). So all snapshots of a thread together are at most about as large as
//!   its journal, however many steps it has.
//! - `recovery`: before a takeover, once [`RECOVERY_WORTH`] events (or `snapshot_every`, if that is
//!   less) and as many bytes were read since the last: a thread that was lost once may be lost
//!   again soon, and its next load must not begin from as far back.
//!
//! The driver calls this after an append became durable, and the adoption before a recovery: a
//! snapshot is never ahead of the journal.
//!
//! [`RuntimeSettings::snapshot_every`]: crate::runtime::settings::RuntimeSettings::snapshot_every

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::driver::Driver;
use super::load::Loaded;
use super::tail::Tail;
use crate::machine::{SNAPSHOT_VERSION, ThreadState, snapshot};
use crate::model::{Event, EventBody};
use crate::observe::Metrics;
use crate::runtime::core::Core;
use crate::store::{Snapshot, SnapshotKind};

/// The largest snapshot, in bytes. As for `MAX_BATCH_BYTES`, any store writes that much well within
/// its statement timeout.
const MAX_SNAPSHOT_BYTES: usize = 16 << 20;

/// The events that a recovery must have read since the last snapshot to be worth one: more than a
/// small workflow ever has.
const RECOVERY_WORTH: u64 = 50;

/// The timeout of the store for one snapshot. A slower write is given up, so that its writer is
/// free for others: reading the journal instead costs less than that.
const SAVE_PATIENCE: Duration = Duration::from_secs(5);

/// Why a snapshot that was due was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    /// All writers were busy.
    Busy,
    /// It is larger than the largest that is stored.
    TooLarge,
    /// The store failed or took too long.
    Failed,
}

impl Skip {
    const ALL: [Self; 3] = [Self::Busy, Self::TooLarge, Self::Failed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }
}

/// The counts of snapshots since this process started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotCounts {
    /// Stored ones, with an entry for each kind.
    pub written: Vec<(&'static str, u64)>,
    /// Ones that were due and not stored, with an entry for each reason.
    pub skipped: Vec<(&'static str, u64)>,
    /// Ones that a load found bad, with an entry for each reason.
    pub bad: Vec<(&'static str, u64)>,
}

/// Returns the counts of this process.
pub(in crate::runtime) fn counts(metrics: &Metrics) -> SnapshotCounts {
    let metrics = &metrics.snapshots;
    let written = SnapshotKind::ALL.map(SnapshotKind::as_str);
    let skipped = Skip::ALL.map(Skip::as_str);
    SnapshotCounts {
        written: written.map(|kind| (kind, metrics.written_of(kind))).into(),
        skipped: skipped.map(|reason| (reason, metrics.skipped_for(reason))).into(),
        bad: super::load::BAD_REASONS.map(|reason| (reason, metrics.bad_for(reason))).into(),
    }
}

/// Offers a snapshot of a driver whose `events` (of `bytes` bytes) have just become durable, if one
/// is due.
pub(in crate::runtime) fn appended(driver: &mut Driver, events: &[Event], bytes: usize) {
    driver.tail.grow(events.len(), bytes);
    let every = driver.core.parts.settings.snapshot_every;
    let paused = events.iter().any(|event| matches!(event.body, EventBody::WorkflowPaused(_)));
    let kind = if paused {
        SnapshotKind::Pause
    } else if driver.tail.outweighs(every) {
        SnapshotKind::Periodic
    } else {
        return;
    };
    if let Some(base) = offer(&driver.core, &driver.state, kind) {
        driver.tail = Tail::after(base);
    }
}

/// Offers a snapshot of a loaded thread, if one is due; to be called before its recovery is
/// decided. Does not wait.
pub(in crate::runtime) fn before_recovery(core: &Arc<Core>, loaded: &mut Loaded) {
    let every = core.parts.settings.snapshot_every.min(RECOVERY_WORTH);
    if loaded.tail.outweighs(every)
        && let Some(base) = offer(core, &loaded.state, SnapshotKind::Recovery)
    {
        loaded.tail = Tail::after(base);
    }
}

/// Stores a durable state in the background, if a writer is free; returns about how many bytes it
/// takes, or `None` if it may be tried again soon.
fn offer(core: &Arc<Core>, state: &ThreadState, kind: SnapshotKind) -> Option<usize> {
    let size = snapshot::estimate(state);
    if size > MAX_SNAPSHOT_BYTES {
        skip(core, state, kind, Skip::TooLarge);
        return Some(size);
    }
    let Ok(permit) = Arc::clone(&core.snapshot_writers).try_acquire_owned() else {
        skip(core, state, kind, Skip::Busy);
        return None;
    };
    // Outputs are shared, so the copy is small; the background task encodes it.
    let (core, state) = (Arc::clone(core), state.clone());
    core.tasks.clone().spawn(async move { save(&core, &state, kind, permit).await });
    Some(size)
}

async fn save(core: &Core, state: &ThreadState, kind: SnapshotKind, permit: OwnedSemaphorePermit) {
    let (text, sha256) = snapshot::encode(state);
    if text.len() > MAX_SNAPSHOT_BYTES {
        return skip(core, state, kind, Skip::TooLarge);
    }
    let snapshot = Snapshot {
        thread_id: state.thread_id.clone(),
        seq: state.last_seq,
        kind,
        version: SNAPSHOT_VERSION,
        at: core.parts.clock.now(),
        sha256,
        state: text,
    };
    let saved = tokio::time::timeout(SAVE_PATIENCE, core.store().save_snapshot(&snapshot));
    let saved = tokio::select! {
        biased;
        // A snapshot must not delay a shutdown.
        () = core.stopped.cancelled() => return,
        saved = saved => saved,
    };
    drop(permit);
    match saved {
        Ok(Ok(())) => core.parts.metrics.snapshots.written(kind.as_str()),
        Ok(Err(error)) => {
            core.availability.failed("the write of a snapshot", &error);
            skip(core, state, kind, Skip::Failed);
        }
        Err(_elapsed) => skip(core, state, kind, Skip::Failed),
    }
}

fn skip(core: &Core, state: &ThreadState, kind: SnapshotKind, reason: Skip) {
    let (kind, reason) = (kind.as_str(), reason.as_str());
    let (thread, seq) = (&state.thread_id, state.last_seq);
    tracing::debug!(%thread, seq, kind, reason, "no snapshot");
    core.parts.metrics.snapshots.skipped(reason);
}
