//! Ends a process whose workers are stuck in client text despite budgets.
//!
//! A runtime of its own renews the lease of such a process, so nobody would take its threads over;
//! if the lease ran out, the next replica would take over the thread and get stuck as well. So the
//! process records the threads in which its workers stand, hands all its threads over, and ends.
//! The record is a message in the thread's inbox: the next owner reads it before any decision
//! (`adopt`), and takes it in the append that pauses the thread.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use super::account::Accounts;
use super::roster::{Activity, LOOK, Standing};
use super::stood::Stood;
use crate::model::{Json, ThreadId, millis};
use crate::runtime::core::Core;
use crate::runtime::drive::inbox::{MessageBody, STOOD_KEY};
use crate::store::{Message, StoreError};

/// The shortest stand that ends a process, however short its lease is: on a busy machine the load
/// of a large thread takes seconds.
const LEAST_STAND: Duration = Duration::from_secs(10);
/// The shortest stand that counts when the process ends anyway.
const STAND_AT_END: Duration = Duration::from_secs(1);
/// The timeout for storing the records, and again for handing the threads over: the process must
/// end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Resolves when workers have stood for longer than the bound, and the process must end. By then
/// the threads they stand in are on record and all threads are handed over, if the store answers.
pub(in crate::runtime) async fn watch(core: Arc<Core>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let bound = bound(&core);
    let accounts = Accounts::of_this_process();
    let mut last = core.parts.clock.monotonic();
    loop {
        looks.tick().await;
        let now = core.parts.clock.monotonic();
        core.roster.look(now.saturating_sub(last), |thread| accounts.of(thread));
        last = now;
        // An orderly shutdown has a time limit of its own.
        if core.draining.is_cancelled() {
            continue;
        }
        let standing = core.roster.standing(bound);
        if !standing.is_empty() {
            give_up(&core, &standing).await;
            return;
        }
    }
}

/// Returns the shortest stand that ends the process.
fn bound(core: &Core) -> Duration {
    core.parts.settings.lease.max(LEAST_STAND)
}

/// Records the threads that workers stand in. If that succeeds, hands all threads over, so that for
/// the innocent ones this is no loss. If not, the lease runs out, and losses are judged as usual.
async fn give_up(core: &Core, standing: &[Standing]) {
    if !record(core, standing).await {
        return;
    }
    let incarnation = core.authority().incarnation;
    core.authority().give_up();
    let retired = tokio::time::timeout(PATIENCE, core.store().retire(incarnation)).await;
    if !matches!(retired, Ok(Ok(()))) {
        tracing::error!("cannot hand threads over; their lease will run out");
    }
}

/// Before an orderly shutdown hands the threads over, records those where workers stood too long.
/// Returns whether any worker stands.
pub(in crate::runtime) async fn record_at_end(core: &Core) -> bool {
    let standing = core.roster.standing(STAND_AT_END);
    let bound = bound(core);
    let (to_blame, others): (Vec<_>, Vec<_>) =
        standing.into_iter().partition(|one| one.stood >= bound);
    for one in &others {
        tracing::error!(work = ?one.work, stood = ?one.stood, "a worker does not come back");
    }
    record(core, &to_blame).await;
    !others.is_empty() || !to_blame.is_empty()
}

/// Records the threads of stuck workers; returns whether all were recorded.
async fn record(core: &Core, standing: &[Standing]) -> bool {
    let driven = |thread: &ThreadId| {
        standing.iter().any(|one| matches!(&one.work, Activity::Drive(other) if other == thread))
    };
    let written = standing.iter().map(async |one| match &one.work {
        Activity::Drive(thread) => write(core, (thread, false), one.stood).await,
        // The task that loads a thread also polls its driver: record it once.
        Activity::Load(thread) if driven(thread) => true,
        Activity::Load(thread) => write(core, (thread, true), one.stood).await,
        Activity::Other(name) => {
            tracing::error!(work = %name, stood = ?one.stood, "a worker stands");
            true
        }
    });
    join_all(written).await.into_iter().all(|written| written)
}

async fn write(core: &Core, (thread, loading): (&ThreadId, bool), stood: Duration) -> bool {
    let written = tokio::time::timeout(PATIENCE, post(core, (thread, loading), stood)).await;
    match written.unwrap_or_else(|_late| Err(StoreError::Unavailable("no answer".to_owned()))) {
        Ok(()) => {
            tracing::error!(%thread, ?stood, loading, "a worker stands in this thread");
            true
        }
        Err(error) => {
            tracing::error!(%thread, ?stood, %error,
                "a worker stands in this thread, which cannot be put on record");
            false
        }
    }
}

async fn post(
    core: &Core,
    (thread, loading): (&ThreadId, bool),
    stood: Duration,
) -> Result<(), StoreError> {
    let incarnation = core.authority().incarnation;
    let for_ms = millis(stood);
    let at = core.parts.clock.now();
    let stood = MessageBody::Stood(Stood { incarnation, for_ms, loading, at });
    let body = Json::of(&stood).map_err(|fault| StoreError::Unavailable(fault.to_string()))?;
    let message = Message { key: format!("{STOOD_KEY}{incarnation}"), body };
    core.store().post_apart(thread, &message).await?;
    Ok(())
}
