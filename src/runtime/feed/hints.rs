//! Publishes hints for other replicas, and acts on those received.
//!
//! Every hint may be lost. The polls of the dispatcher and of the feed make the server correct;
//! hints make it quick. Nothing here delays a writer: callers queue hints, and one task publishes
//! them; if it cannot, it logs that and drops them. Only a shutdown publishes directly. `start`
//! starts the loops.

use std::sync::Arc;
use std::time::Duration;

use super::queue::ANNOUNCE_INTERVAL;
use crate::model::Backoff;
use crate::runtime::core::Core;
use crate::runtime::write::streak::Streak;
use crate::store::{Hint, Received, StoreError};

/// The time between two publishes: each briefly locks all commits of the database.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);
/// Timeout of one publish: late hints are useless.
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// The first pause before receiving again: a broken connection is replaced quickly.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest such pause: hints are received again within it once the database is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Publishes queued hints: at once after a quiet time, else every 10 ms.
pub(in crate::runtime) async fn publish(core: Arc<Core>) {
    let queue = &core.feed.hints;
    let mut streak = Streak::new("sending hints to other replicas");
    while core.stopped.run_until_cancelled(queue.filled.notified()).await.is_some() {
        let hints = queue.take();
        if !hints.is_empty() {
            match send(&core, &hints).await {
                Ok(()) => streak.passed(),
                Err(error) => streak.failed(&core.availability, &error),
            }
        }
        tokio::time::sleep(FLUSH_INTERVAL).await;
    }
}

async fn send(core: &Core, hints: &[Hint]) -> Result<(), StoreError> {
    let published = core.store().publish(core.authority().incarnation, hints);
    let late = || Err(StoreError::Unavailable("no answer in time".to_owned()));
    tokio::time::timeout(SEND_DEADLINE, published).await.unwrap_or_else(|_| late())
}

/// Publishes one hint that others may claim this replica's threads.
pub(in crate::runtime) async fn publish_work(core: &Core) {
    if let Err(error) = send(core, &[Hint::Work]).await {
        tracing::debug!(%error, "cannot send the hint of work left to other replicas");
    }
}

/// Acts on the hints of other replicas, until the server has stopped.
pub(in crate::runtime) async fn receive(core: Arc<Core>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut streak = Streak::new("receiving hints of other replicas");
    while let Some(received) = core.stopped.run_until_cancelled(core.store().receive()).await {
        match received {
            Ok(received) => {
                backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
                streak.passed();
                act(&core, received);
            }
            Err(error) => {
                streak.failed(&core.availability, &error);
                tokio::time::sleep(backoff.jittered(core.parts.entropy.as_ref())).await;
            }
        }
    }
}

fn act(core: &Core, received: Received) {
    let hints = match received {
        Received::Hints { from, .. } if from == core.authority().incarnation => return,
        Received::Hints { hints, .. } => hints,
        Received::Subscribed => {
            // Earlier hints of heads, messages, work and followers are lost: act as if all came.
            core.feed.look_again();
            core.feed.hints.followed();
            core.nudge.notify_one();
            return;
        }
    };
    for hint in hints {
        match hint {
            Hint::Head(thread, seq) => core.feed.heard(&thread, seq),
            Hint::Message(thread) => {
                core.driven.wake(&thread);
            }
            Hint::Work if core.room() > 0 => core.nudge.notify_one(),
            Hint::Work => {}
            Hint::Followers => core.feed.hints.followed(),
        }
    }
}

/// Publishes regularly that threads driven elsewhere are followed here.
pub(in crate::runtime) async fn announce(core: Arc<Core>) {
    let stop = core.stopped.clone();
    while stop.run_until_cancelled(tokio::time::sleep(ANNOUNCE_INTERVAL)).await.is_some() {
        if core.feed.followed().iter().any(|(thread, _)| !core.driven.is_at_work(thread)) {
            core.feed.hints.followers();
        }
    }
}
