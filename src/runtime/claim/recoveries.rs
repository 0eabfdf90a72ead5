//! Records recoveries: their beginning before a thread is rebuilt, and their end once they are
//! durable and checked. The dispatcher, adoptions, drivers and faces' lists call it.
//!
//! The records are for people and statistics, and no recovery needs them: a record that cannot be
//! written is left out. Two things are taken from earlier records: how long to defer a thread that
//! cannot be rebuilt, and the cause and lost replica with which a later try goes on.

use std::time::Duration;

use super::recovering::Recovering;
use super::verdict::{Evidence, judge};
use crate::contract::{Page, RecoveryItem};
use crate::machine::ThreadState;
use crate::model::{Backoff, Epoch, InterventionKind, RecoveryCause, Seq, ThreadId, ThreadStatus};
use crate::runtime::calls::patience::{persistently, shown};
use crate::runtime::core::Core;
use crate::runtime::drive::driver::Driver;
use crate::runtime::types::RuntimeError;
use crate::store::{Claimed, Recovery, RecoveryEnd, RecoveryResult, StoreError, ThreadRow};

/// The pause after the first failed recovery of a thread: a hiccup is over by then.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause after a failed recovery: a repair of the damage is noticed within it.
pub(in crate::runtime) const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// The number of failed recoveries counted for the pause: 5 s doubled seven times reaches the
/// longest.
const COUNTED_FAILURES: usize = 8;
/// The timeout for recording that recoveries begin: the threads matter more than the record.
const RECORD_PATIENCE: Duration = Duration::from_secs(1);
/// The tries to record the end of a recovery: enough for a hiccup, not for an outage.
const RECORD_TRIES: u32 = 3;
/// The time between those tries.
const RECORD_PAUSE: Duration = Duration::from_millis(200);

/// Records the recoveries that a claim begins, with one statement for all of them.
pub(in crate::runtime) async fn begin_all(core: &Core, claimed: &[Claimed]) {
    let begun: Vec<Recovery> = claimed
        .iter()
        .filter(|claimed| claimed.previous_owner != 0)
        .filter_map(|claimed| {
            let evidence = Evidence {
                previous_owner: claimed.previous_owner,
                loss: claimed.lost,
                damaged: false,
                // Not known before the thread is rebuilt, and irrelevant if somebody drove it.
                under_way: false,
            };
            Some(Recovering::new(core, claimed, judge(evidence)?).record(core, claimed))
        })
        .collect();
    begin(core, &begun).await;
}

/// Records that recoveries begin.
pub(in crate::runtime) async fn begin(core: &Core, begun: &[Recovery]) {
    if begun.is_empty() {
        return;
    }
    let recorded = tokio::time::timeout(RECORD_PATIENCE, core.store().begin_recoveries(begun));
    match recorded.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => core.availability.failed("the record of recoveries", &error),
        Err(_elapsed) => tracing::warn!(recoveries = begun.len(), "recoveries are not recorded"),
    }
}

/// A recovery that an earlier claim of a thread left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum Unfinished {
    /// It was begun and has not ended.
    Begun(Recovering),
    /// One for this cause failed, and nothing happened to the thread since.
    Failed(RecoveryCause),
}

/// Returns the newest recovery of a claimed thread, if unfinished.
pub(in crate::runtime) async fn unfinished(
    core: &Core,
    claimed: &Claimed,
) -> Result<Option<Unfinished>, StoreError> {
    let newest = core.store().recoveries(&claimed.thread_id, None, 1).await?.pop();
    Ok(newest.and_then(|newest| left_unfinished(&newest, claimed)))
}

fn left_unfinished(newest: &Recovery, claimed: &Claimed) -> Option<Unfinished> {
    if failed_at(newest, claimed.last_seq) {
        return Some(Unfinished::Failed(newest.cause));
    }
    // If it has ended without a record of that, the journal has grown.
    let waits = newest.end.is_none() && newest.from_seq == claimed.last_seq;
    waits.then_some(Unfinished::Begun(Recovering {
        epoch: newest.epoch,
        cause: newest.cause,
        previous_owner: newest.previous_owner,
        strategy: None,
        began: newest.started_at,
    }))
}

/// Returns the error of a thread's newest recovery, if it failed and nothing has happened since.
pub(in crate::runtime) async fn failure(
    core: &Core,
    row: &ThreadRow,
) -> Result<Option<String>, RuntimeError> {
    let newest = persistently(core, || async {
        Ok(core.store().recoveries(&row.thread_id, None, 1).await?.pop())
    });
    let failed = newest.await?.filter(|newest| failed_at(newest, row.last_seq));
    let detail = failed.and_then(|failed| failed.end).map(|end| end.detail.unwrap_or_default());
    Ok(detail)
}

/// Records a failed recovery; returns how long to set the thread aside, longer each time.
pub(in crate::runtime) async fn failed(
    core: &Core,
    thread: &ThreadId,
    recovering: &Recovering,
    detail: &str,
) -> Duration {
    let end = RecoveryEnd {
        detail: Some(detail.to_owned()),
        ..recovering.end(core, RecoveryResult::Failed)
    };
    record_end(core, thread, recovering.epoch, &end).await;
    let known = core.store().recoveries(thread, None, COUNTED_FAILURES).await.unwrap_or_default();
    let failures = known.iter().take_while(|recovery| has_failed(recovery)).count();
    pause_after(failures)
}

fn has_failed(recovery: &Recovery) -> bool {
    recovery.end.as_ref().is_some_and(|end| end.result == RecoveryResult::Failed)
}

/// Returns whether a recovery failed and left the thread at this head.
fn failed_at(recovery: &Recovery, head: Seq) -> bool {
    let left_at = recovery.end.as_ref().and_then(|end| end.to_seq).unwrap_or(recovery.from_seq);
    has_failed(recovery) && left_at == head
}

/// Returns the pause after `failures` failures in a row: each doubles it.
fn pause_after(failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    Backoff::new(FIRST_PAUSE, LONGEST_PAUSE).after(doublings)
}

/// Returns whether a person has to decide about the thread's losses.
fn is_quarantined(state: &ThreadState) -> bool {
    state.open_interventions().any(|one| one.opened.kind == InterventionKind::Poison)
}

/// Validates and records a recovery that has become durable.
pub(in crate::runtime) fn conclude(driver: &Driver, recovering: &Recovering) {
    let (core, state) = (&driver.core, &driver.state);
    let goes_on = driver.unfinished || core.draining.is_cancelled();
    let is_unmoved = !goes_on && state.is_unmoved();
    let fault = is_unmoved.then_some("nothing would ever move the thread");
    let result = match (fault, state.status) {
        (Some(_), _) => RecoveryResult::Failed,
        (None, ThreadStatus::Paused) if is_quarantined(state) => RecoveryResult::Quarantined,
        (None, _) => RecoveryResult::Recovered,
    };
    let to_seq: Option<Seq> = Some(state.last_seq);
    let detail = fault.map(str::to_owned);
    let end = RecoveryEnd { to_seq, detail, ..recovering.end(core, result) };
    let thread = state.thread_id.clone();
    tracing::info!(%thread, cause = recovering.cause.as_str(), result = result.as_str(),
        took_ms = end.duration_ms, "a recovery has ended");
    let (core, epoch) = (std::sync::Arc::clone(core), recovering.epoch);
    core.tasks.clone().spawn(async move {
        record_end(&core, &thread, epoch, &end).await;
    });
}

/// Lists the recoveries of a thread, newest first; the cursor is an epoch.
pub(in crate::runtime) async fn list(
    core: &Core,
    thread: &ThreadId,
    (limit, before): (usize, Option<Epoch>),
) -> Result<Page<RecoveryItem>, RuntimeError> {
    let found = shown(core, &thread.namespace(), || async {
        let store = core.shown.store();
        store.thread(thread).await?.ok_or(RuntimeError::ThreadNotFound)?;
        Ok(store.recoveries(thread, before, limit + 1).await?)
    })
    .await?;
    Ok(Page::cut(found, limit, |last| last.epoch.to_string()).map(RecoveryItem::from))
}

async fn record_end(core: &Core, thread: &ThreadId, epoch: Epoch, end: &RecoveryEnd) {
    for _ in 0..RECORD_TRIES {
        match core.store().end_recovery(thread, epoch, end).await {
            Ok(()) => return,
            Err(error) => core.availability.failed("the record of a recovery's end", &error),
        }
        tokio::time::sleep(RECORD_PAUSE).await;
    }
}

impl From<Recovery> for RecoveryItem {
    fn from(recovery: Recovery) -> Self {
        let end = recovery.end;
        Self {
            cause: recovery.cause,
            strategy: end.as_ref().and_then(|end| end.strategy),
            result: end.as_ref().map(|end| end.result.as_str()),
            from_seq: recovery.from_seq,
            to_seq: end.as_ref().and_then(|end| end.to_seq),
            previous_owner: recovery.previous_owner,
            replica: recovery.replica,
            started_at: recovery.started_at,
            duration_ms: end.as_ref().map(|end| end.duration_ms),
            detail: end.and_then(|end| end.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_that_fails_again_is_tried_ever_later_up_to_a_bound() {
        let pauses: Vec<u64> = (0..=8).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [5, 5, 10, 20, 40, 80, 160, 320, 600]);
        assert_eq!(pause_after(usize::MAX), LONGEST_PAUSE);
    }
}
