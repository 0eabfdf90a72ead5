//! Finds work: threads that are due, threads of lost replicas, messages for threads driven here.
//!
//! One loop, started by [`crate::runtime::start`], finds lost threads like all others, so starting
//! up needs nothing special. It hands claimed threads to `adopt`.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::adopt::Adoption;
use super::fairness::Fairness;
use super::ramp::Ramp;
use super::{recoveries, trials};
use crate::runtime::core::Core;
use crate::runtime::driven::Reserved;
use crate::runtime::lease::authority::Authority;
use crate::runtime::settings::POLL_INTERVAL;
use crate::store::{Claimed, StoreError};

/// The shortest time between two looks: a thread that cannot be claimed yet must not make the loop
/// spin.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Looks for work until the server drains.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    let (mut ramp, mut fairness) = (Ramp::default(), Fairness::default());
    while !core.draining.is_cancelled() {
        let authority = core.authority();
        let looked = tokio::select! {
            biased;
            looked = look(&core, (&mut ramp, &mut fairness)) => looked.map_err(Some),
            // Do not wait for a connection that hangs: the next incarnation asks again.
            () = authority.lost() => Err(None),
        };
        let full = looked.unwrap_or_else(|failed| {
            if let Some(error) = failed {
                core.availability.failed("the look for work", &error);
            }
            ramp.failed();
            false
        });
        if full {
            // More threads may be due: go on at once, but let the threads just claimed start.
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

/// Returns the time until the next look: jittered, and at most until the next parked thread is due.
async fn pause(core: &Core) -> Duration {
    let jittered = POLL_INTERVAL.mul_f64(0.75 + core.parts.entropy.unit() / 2.0);
    // A store that does not answer must not delay the next look.
    match tokio::time::timeout(POLL_INTERVAL, core.store().next_wake()).await {
        Ok(Ok(Some(due))) if core.room() > 0 => {
            jittered.min(due.since(core.parts.clock.now())).max(SHORTEST_PAUSE)
        }
        Ok(_) | Err(_) => jittered,
    }
}

/// Claims as many threads as there is room for; returns whether more may be waiting.
async fn look(
    core: &Arc<Core>,
    (ramp, fairness): (&mut Ramp, &mut Fairness),
) -> Result<bool, StoreError> {
    let authority = core.authority();
    if !authority.holds() {
        return Ok(false);
    }
    for thread in core.store().mail(authority.incarnation).await? {
        if !core.driven.wake(&thread) {
            core.bench.wake(&thread);
        }
    }
    if core.doubt.swap(false, Ordering::AcqRel) {
        adopt_forgotten(core, &authority).await?;
    }
    let began = core.parts.clock.monotonic();
    let crowd = fairness.crowd(began);
    let turn_of_others = crowd.is_some();
    let mut reserved = core.reserve(ramp.size(), crowd);
    let leaves_out = !reserved.except.is_empty();
    let may_claim = !leaves_out || fairness.may_leave_out(began);
    let limit = if may_claim { reserved.places } else { 0 };
    let claimed = if limit == 0 { Vec::new() } else { claim(core, &authority, &reserved).await? };
    let full = claimed.len() == limit && limit > 0;
    if limit > 0 {
        fairness.claimed(leaves_out, (began, core.parts.clock.monotonic()));
    }
    if full {
        fairness.filled(&claimed);
    }
    recoveries::begin_all(core, &claimed).await;
    // That others have nothing due says nothing of those left out.
    if !(leaves_out && claimed.is_empty()) {
        ramp.claimed(limit, claimed.len());
    }
    let mut cases = trials::judge_all(core, &authority, &claimed).await;
    for thread in claimed {
        let case = cases.remove(&thread.thread_id);
        let pending = core.driven.begin_adoption(&thread.thread_id, Some(&mut reserved));
        let (core, authority) = (Arc::clone(core), Arc::clone(&authority));
        Adoption { core, authority, claimed: thread, case, pending }.spawn();
    }
    drop(reserved);
    // Those left out for a turn are waiting.
    if turn_of_others && limit > 0 {
        return Ok(true);
    }
    if !full {
        let queued = core.store().queued(core.parts.settings.max_queued).await?;
        core.queued.store(queued, Ordering::Relaxed);
        crate::runtime::driven::set(&core.parts.metrics.threads_queued, queued);
    }
    Ok(full)
}

async fn claim(
    core: &Core,
    authority: &Authority,
    reserved: &Reserved,
) -> Result<Vec<Claimed>, StoreError> {
    let Reserved { places, except, .. } = reserved;
    let claimed = core.store().claim(authority.incarnation, *places, except).await;
    if claimed.is_err() {
        // The claim may have succeeded all the same: this replica may own unknown threads.
        core.doubt.store(true, Ordering::Release);
    }
    claimed
}

/// Adopts the threads that this replica owns but does not drive.
async fn adopt_forgotten(core: &Arc<Core>, authority: &Arc<Authority>) -> Result<(), StoreError> {
    let owned = core.store().owned(authority.incarnation).await;
    let owned = owned.inspect_err(|_| core.doubt.store(true, Ordering::Release))?;
    for thread in owned {
        if core.driven.is_at_work(&thread.thread_id) {
            continue;
        }
        tracing::warn!(thread = %thread.thread_id, "owned and not driven: adopted");
        let pending = core.driven.begin_adoption(&thread.thread_id, None);
        let (core, authority) = (Arc::clone(core), Arc::clone(authority));
        core.tasks.clone().spawn(async move {
            // It may have been released since the list was read.
            match core.store().thread(&thread.thread_id).await {
                Ok(Some(row))
                    if row.owner == authority.incarnation && row.epoch == thread.epoch =>
                {
                    let core = Arc::clone(&core);
                    let one = std::slice::from_ref(&thread);
                    let mut cases = trials::judge_all(&core, &authority, one).await;
                    let case = cases.remove(&thread.thread_id);
                    Adoption { core, authority, claimed: thread, case, pending }.spawn();
                }
                Ok(_) => {}
                Err(_unavailable) => core.doubt.store(true, Ordering::Release),
            }
        });
    }
    Ok(())
}
