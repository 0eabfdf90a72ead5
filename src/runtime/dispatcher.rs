//! Finds work: threads that are due, threads of lost replicas, messages for threads driven here.
//!
//! Recovery is this loop and nothing else; starting up does nothing special.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;

use super::authority::Authority;
use super::core::{Core, Pending};
use super::driver::Driver;
use super::load::{LoadError, load};
use super::ramp::Ramp;
use super::settings::POLL_INTERVAL;
use super::writer::Committed;
use crate::machine::Command;
use crate::model::{RecoveryCause, ThreadId, Timestamp};
use crate::store::{Append, Claimed, Disposition, StoreError, Write, WriteOutcome};

/// How long a thread that cannot be loaded is left alone before it is tried again.
const UNLOADABLE_PAUSE: Duration = Duration::from_secs(30);
/// How long a thread is left alone whose append the store refused, or whose driver panicked.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// Between two looks at the least: a thread that cannot be claimed yet is no reason to spin.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// How often the place of a thread's earlier driver is looked at until it is free.
const PLACE_CHECK: Duration = Duration::from_millis(5);

/// Looks for work until the server drains.
pub(super) async fn run(core: Arc<Core>) {
    let mut ramp = Ramp::default();
    while !core.draining.is_cancelled() {
        let authority = core.authority();
        let looked = tokio::select! {
            biased;
            looked = look(&core, &mut ramp) => looked,
            // What a connection swallowed is not waited for: the next incarnation asks afresh.
            () = authority.lost() => Err(StoreError::Unavailable("the lease is lost".to_owned())),
        };
        let full = match looked {
            Ok(full) => full,
            Err(error) => {
                tracing::warn!(%error, "cannot look for work");
                ramp.failed();
                false
            }
        };
        if full {
            // More is there: go on at once, after those just claimed had a chance to start.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            biased;
            () = core.nudge.notified() => {}
            () = tokio::time::sleep(pause(&core).await) => {}
            () = core.draining.cancelled() => {}
        }
    }
}

/// Until the next look: jittered, and no longer than until the next parked thread is due.
async fn pause(core: &Core) -> Duration {
    let jittered = POLL_INTERVAL.mul_f64(0.75 + core.parts.entropy.unit() / 2.0);
    // A store that does not answer must not keep the next look from being made in time.
    match tokio::time::timeout(POLL_INTERVAL, core.store().next_wake()).await {
        Ok(Ok(Some(due))) if core.room() > 0 => {
            jittered.min(due.since(core.parts.clock.now())).max(SHORTEST_PAUSE)
        }
        Ok(_) | Err(_) => jittered,
    }
}

/// Claims what there is room for; `true` if more may be waiting.
async fn look(core: &Arc<Core>, ramp: &mut Ramp) -> Result<bool, StoreError> {
    let authority = core.authority();
    if !authority.holds() {
        return Ok(false);
    }
    for thread in core.store().mail(authority.incarnation).await? {
        core.poke(&thread);
    }
    if core.doubt.swap(false, Ordering::AcqRel) {
        adopt_forgotten(core, &authority).await?;
    }
    let reserved = core.reserve(ramp.size());
    let limit = reserved.places;
    let claimed = if limit == 0 { Vec::new() } else { claim(core, &authority, limit).await? };
    let full = claimed.len() == limit && limit > 0;
    ramp.claimed(limit, claimed.len());
    for thread in claimed {
        let pending = core.begin_adoption(&thread.thread_id);
        let (core, authority) = (Arc::clone(core), Arc::clone(&authority));
        core.tasks.clone().spawn(async move { adopt(core, authority, thread, pending).await });
    }
    drop(reserved);
    if !full {
        let queued = core.store().queued(core.parts.settings.max_queued).await?;
        core.queued.store(queued, Ordering::Relaxed);
        super::core::set(&core.parts.metrics.threads_queued, queued);
    }
    Ok(full)
}

async fn claim(
    core: &Core,
    authority: &Authority,
    limit: usize,
) -> Result<Vec<Claimed>, StoreError> {
    let claimed = core.store().claim(authority.incarnation, limit).await;
    if claimed.is_err() {
        // It may have happened all the same: then these threads are ours, and nobody knows.
        core.doubt.store(true, Ordering::Release);
    }
    claimed
}

/// Adopts the threads that this replica owns and that nobody here drives.
async fn adopt_forgotten(core: &Arc<Core>, authority: &Arc<Authority>) -> Result<(), StoreError> {
    let owned = core.store().owned(authority.incarnation).await;
    let owned = owned.inspect_err(|_| core.doubt.store(true, Ordering::Release))?;
    for thread in owned {
        if core.is_at_work(&thread.thread_id) {
            continue;
        }
        tracing::warn!(thread = %thread.thread_id, "owned and not driven: adopted");
        let pending = core.begin_adoption(&thread.thread_id);
        let (core, authority) = (Arc::clone(core), Arc::clone(authority));
        core.tasks.clone().spawn(async move {
            // It may have been released since the list was read.
            match core.store().thread(&thread.thread_id).await {
                Ok(Some(row))
                    if row.owner == authority.incarnation && row.epoch == thread.epoch =>
                {
                    adopt(core, authority, thread, pending).await;
                }
                Ok(_) => {}
                Err(_unavailable) => core.doubt.store(true, Ordering::Release),
            }
        });
    }
    Ok(())
}

/// Loads a claimed thread and drives it.
async fn adopt(core: Arc<Core>, authority: Arc<Authority>, claimed: Claimed, pending: Pending) {
    let Claimed { thread_id, epoch, previous_owner, mail, .. } = claimed;
    let state = loop {
        // Never closed: there is always a place to wait for.
        let place = core.loads.acquire().await;
        let loaded = load(&core, &thread_id, None).await;
        drop(place);
        match loaded {
            Ok(state) => break state,
            // The thread is ours and in order: it goes on as soon as the store answers.
            Err(LoadError::Store(error)) if error.is_transient() => {
                tracing::warn!(thread = %thread_id, %error, "the thread is loaded again");
                tokio::select! {
                    biased;
                    () = authority.lost() => return,
                    () = core.stopped.cancelled() => return,
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                }
            }
            Err(error) => return put_back(&core, &authority, (&thread_id, epoch), &error).await,
        }
    };
    let command = if previous_owner != 0 {
        Command::Recover { cause: RecoveryCause::ReplicaLost, previous_owner }
    } else if state.has_running() {
        Command::Recover { cause: RecoveryCause::Handover, previous_owner }
    } else {
        Command::Advance
    };
    // The driver that released this thread may not have left its place yet.
    let mut driver = loop {
        let made = Driver::new(Arc::clone(&core), Arc::clone(&authority), state.clone(), epoch);
        match made {
            Some(driver) => break driver,
            None if authority.is_lost() => return,
            None => tokio::time::sleep(PLACE_CHECK).await,
        }
    };
    drop(pending);
    driver.mail = mail > 0;
    supervise(&core, thread_id, driver.run(Vec::new(), Some(command))).await;
}

/// Runs a driver; if it panics, its thread is claimed afresh instead of standing still.
pub(super) async fn supervise(core: &Core, thread: ThreadId, driver: impl Future<Output = ()>) {
    if AssertUnwindSafe(driver).catch_unwind().await.is_ok() {
        return;
    }
    tracing::error!(%thread, "the thread's driver panicked; it is claimed again");
    let authority = core.authority();
    match core.store().thread(&thread).await {
        Ok(Some(row)) if row.owner == authority.incarnation => {
            let later = core.parts.clock.now().plus(REFUSED_PAUSE);
            release(core, &authority, (&thread, row.epoch), later).await;
        }
        Ok(_) => {}
        Err(error) => {
            core.doubt.store(true, Ordering::Release);
            tracing::error!(%thread, %error, "cannot release the thread");
        }
    }
}

/// Gives a thread that cannot be loaded back, to be tried again later, perhaps by a newer server.
async fn put_back(
    core: &Core,
    authority: &Arc<Authority>,
    (thread, epoch): (&ThreadId, i64),
    error: &LoadError,
) {
    match error {
        LoadError::NotFound => {}
        LoadError::Store(_) | LoadError::Event(_) | LoadError::Definition(..) => {
            tracing::error!(%thread, %error, "cannot load the thread");
            let later = core.parts.clock.now().plus(UNLOADABLE_PAUSE);
            release(core, authority, (thread, epoch), later).await;
        }
    }
}

/// Gives a thread back whose append the store refused: unless it is released it would stand still
/// for as long as this replica lives.
pub(super) async fn set_aside(
    core: &Core,
    authority: &Arc<Authority>,
    (thread, epoch): (&ThreadId, i64),
) {
    let later = core.parts.clock.now().plus(REFUSED_PAUSE);
    release(core, authority, (thread, epoch), later).await;
}

/// Releases a thread as it stands in the store, without touching its journal.
async fn release(
    core: &Core,
    authority: &Arc<Authority>,
    (thread, epoch): (&ThreadId, i64),
    wake_at: Timestamp,
) {
    let row = match core.store().thread(thread).await {
        Ok(Some(row)) => row,
        Ok(None) => return,
        Err(error) => {
            core.doubt.store(true, Ordering::Release);
            return tracing::error!(%thread, %error, "cannot release the thread");
        }
    };
    let append = Append {
        thread_id: thread.clone(),
        epoch,
        prev: row.last_seq,
        records: None,
        summary: row.summary,
        progress: false,
        disposition: Disposition::Release { wake_at: Some(wake_at) },
        taken: Vec::new(),
    };
    let workflow = Arc::from(row.workflow.as_str());
    let write = Write::Append(Box::new(append));
    let committed = core.writer.commit(write, workflow, Arc::clone(authority)).await;
    if matches!(committed, Committed::Refused(_) | Committed::Answered(WriteOutcome::Refused)) {
        // The thread may still be ours: it is looked at again, though not at once.
        tokio::select! {
            biased;
            () = authority.lost() => {}
            () = core.stopped.cancelled() => {}
            () = tokio::time::sleep(REFUSED_PAUSE) => core.doubt.store(true, Ordering::Release),
        }
    }
}
