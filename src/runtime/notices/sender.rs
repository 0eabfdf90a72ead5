//! Finds messages to send, and keeps the list of subscriptions and the counts up to date.
//!
//! Every replica runs one; the store's leases share the work among them. It claims only as many
//! cursors of a subscription, of a namespace and in all as there are free places, so that a receiver
//! that hangs delays no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::deliver::{Errand, LEASE, deliver};
use super::desk::REFRESH_INTERVAL;
use super::subscriptions::refresh;
use crate::runtime::core::Core;
use crate::runtime::driven::set;
use crate::store::StoreError;

/// The interval of looks for due cursors: the most that the end of another replica, a lost wake-up
/// or the end of a pause can cost.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// The pause between two parts of a chore: half of the time is for the writes of others.
const CHORE_PAUSE: Duration = Duration::from_millis(20);
/// The interval at which waiting messages are counted for gauges and people, and old ones given up.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);
/// How long a thread's messages are tried without any success: over a long weekend.
const GIVE_UP_AFTER: Duration = Duration::from_hours(72);
/// The number of cursors given up with one statement.
const GIVE_UP_BATCH: usize = 2_000;
/// The number of such statements in a row: as many threads as a busy server begins may have waited
/// in vain, and a cursor that is not given up keeps its thread from being deleted.
const GIVE_UP_ROUNDS: usize = 20;
/// How long messages of a subscription fail before the health report says so: a receiver that is
/// restarted is back by then.
pub(in crate::runtime) const FAILING_FOR: Duration = Duration::from_mins(5);

/// Sends until the server drains; the shutdown waits for messages under way, not this loop.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    if core.parts.executors.webhooks().is_none() {
        return core.draining.cancelled().await;
    }
    let (mut refresh_at, mut count_at) = (Instant::now(), Instant::now());
    let mut more = false;
    while !core.draining.is_cancelled() {
        let now = Instant::now();
        let work = async {
            if now >= refresh_at {
                refresh(&core).await?;
                refresh_at = now + REFRESH_INTERVAL;
            }
            if now >= count_at {
                count(&core).await?;
                count_at = now + COUNT_INTERVAL;
                core.notices.chores().sweep = true;
            }
            more = do_chores(&core).await?;
            send_due(&core).await
        };
        let done = work.await;
        if let Err(error) = &done {
            core.availability.failed("the look for notifications", error);
        }
        let failing = done.is_err();
        let idle = core.notices.known().is_empty();
        let pause = match (failing, more) {
            (false, true) => CHORE_PAUSE,
            _ if idle || failing => REFRESH_INTERVAL,
            _ => LOOK_INTERVAL,
        };
        tokio::select! {
            biased;
            () = core.draining.cancelled() => {}
            () = core.notices.changed.notified() => refresh_at = Instant::now(),
            () = core.notices.wake.notified(), if !failing => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Does a part of each chore; returns whether more is left. Others write in between.
async fn do_chores(core: &Core) -> Result<bool, StoreError> {
    let (hasten, sweep) = {
        let chores = core.notices.chores();
        (chores.hasten.first().cloned(), chores.sweep)
    };
    if let Some(id) = &hasten
        && !core.store().hasten_notices(id).await?
    {
        core.notices.chores().hasten.remove(id);
    }
    if sweep && !core.store().sweep_notices().await? {
        core.notices.chores().sweep = false;
    }
    let chores = core.notices.chores();
    Ok(chores.sweep || !chores.hasten.is_empty())
}

/// Claims due cursors that have a place, and sends each in a task of its own.
async fn send_due(core: &Arc<Core>) -> Result<(), StoreError> {
    let (wanted, most) = core.notices.free(Instant::now());
    let authority = core.authority();
    if wanted.is_empty() || !authority.holds() {
        return Ok(());
    }
    let (me, token) = (authority.incarnation, token(core));
    let leased = Instant::now();
    for notice in core.store().claim_notices(me, token, LEASE, (&wanted, most)).await? {
        let Some((place, slot)) = core.notices.place(&notice.subscription, leased) else {
            // It was disabled meanwhile: nobody takes its places but this task.
            core.store().release_notice(token, &notice, Duration::ZERO, false).await?;
            continue;
        };
        let errand = Errand { core: Arc::clone(core), notice, token, leased, slot };
        let task_core = Arc::clone(core);
        core.tasks.spawn(async move {
            deliver(errand).await;
            drop(place);
            task_core.notices.wake.notify_one();
        });
    }
    Ok(())
}

/// Returns a number that no other claim has.
fn token(core: &Core) -> i64 {
    let (_, low) = core.parts.entropy.uuid(core.parts.clock.now()).as_u64_pair();
    low.cast_signed()
}

async fn count(core: &Core) -> Result<(), StoreError> {
    for _ in 0..GIVE_UP_ROUNDS {
        let given_up = core.store().give_up_notices(GIVE_UP_AFTER, GIVE_UP_BATCH).await?;
        let all: u64 = given_up.iter().map(|(_, threads)| *threads).sum();
        for (subscription, threads) in given_up {
            tracing::error!(subscription, threads, "notifications are given up");
            core.parts.metrics.notifications.given_up.inc_by(threads);
        }
        if usize::try_from(all).unwrap_or(usize::MAX) < GIVE_UP_BATCH {
            break;
        }
    }
    let counts = core.store().notice_counts().await?;
    let pending = counts.iter().map(|count| count.pending).sum::<u64>();
    let pending = usize::try_from(pending).unwrap_or(usize::MAX);
    set(&core.parts.metrics.notifications.pending, pending);
    core.notices.put_counts(counts);
    Ok(())
}
