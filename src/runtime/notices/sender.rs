//! Finds what is to be sent, and keeps the list of subscriptions and the counts.
//!
//! Every replica runs one; the store's leases share the work among them. It takes no more of a
//! subscription than has a place, so that a receiver that hangs keeps no other waiting.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::deliver::{Errand, LEASE, deliver};
use super::desk::REFRESH_INTERVAL;
use super::subscriptions::refresh;
use crate::runtime::core::{Core, set};
use crate::store::StoreError;

/// How often it is looked whether something is due: what another replica's end, a lost wake-up or a
/// pause that is over can cost.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How often waiting messages are counted, and old ones given up: for gauges and people.
const COUNT_INTERVAL: Duration = Duration::from_secs(15);
/// How long a thread's messages are tried without any success: over a long weekend.
const GIVE_UP_AFTER: Duration = Duration::from_hours(72);
/// Cursors given up with one statement.
const GIVE_UP_BATCH: usize = 2_000;
/// Such statements at a time: as many threads as a busy server begins may have waited in vain, and
/// what is not given up keeps its thread.
const GIVE_UP_ROUNDS: usize = 20;
/// How long messages of a subscription fail before health says so: a receiver that is restarted is
/// back by then.
pub(in crate::runtime) const FAILING_FOR: Duration = Duration::from_mins(5);

/// Sends until the server drains; messages under way are waited for elsewhere.
pub(in crate::runtime) async fn run(core: Arc<Core>) {
    if core.parts.executors.webhooks().is_none() {
        return core.draining.cancelled().await;
    }
    let (mut refresh_at, mut count_at) = (Instant::now(), Instant::now());
    let mut failing = false;
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
            }
            send_due(&core).await
        };
        let done = work.await;
        if let (Err(error), false) = (&done, failing) {
            tracing::warn!(%error, "cannot look for notifications; it is tried again");
        }
        failing = done.is_err();
        let idle = core.notices.known().is_empty();
        let pause = if idle || failing { REFRESH_INTERVAL } else { LOOK_INTERVAL };
        tokio::select! {
            biased;
            () = core.draining.cancelled() => {}
            () = core.notices.changed.notified() => refresh_at = Instant::now(),
            () = core.notices.wake.notified(), if !failing => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Takes what is due and has a place, and sends each in a task of its own.
async fn send_due(core: &Arc<Core>) -> Result<(), StoreError> {
    let wanted = core.notices.free(Instant::now());
    let authority = core.authority();
    if wanted.is_empty() || !authority.holds() {
        return Ok(());
    }
    let (me, token) = (authority.incarnation, token(core));
    let leased = Instant::now();
    for notice in core.store().claim_notices(me, token, LEASE, &wanted).await? {
        let Some(place) = core.notices.place(&notice.subscription) else { continue };
        let errand = Errand { core: Arc::clone(core), notice, token, leased };
        let task_core = Arc::clone(core);
        core.tasks.spawn(async move {
            deliver(errand).await;
            drop(place);
            task_core.notices.wake.notify_one();
        });
    }
    Ok(())
}

/// A number that no other claim has.
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
