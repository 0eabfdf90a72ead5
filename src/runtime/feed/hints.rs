//! Tells other replicas what they may want to know, and acts on what they tell.
//!
//! Every hint may be lost: the polls of the dispatcher and of the feed stay what makes the server
//! correct, this only makes it quick. Nothing here holds a writer up: what is to be told is noted
//! in a map, and one task sends it; if it cannot, it logs that and forgets it. The feed, the mail
//! and a shutdown note what is to be told; `start` starts the loops.

use std::sync::Arc;
use std::time::Duration;

use super::outbox::ANNOUNCE_INTERVAL;
use crate::runtime::core::Core;
use crate::store::{Heard, News, StoreError};

/// Between two statements that notify: each takes a lock on all commits of the database.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);
/// What the store gets to send hints: later they are worth nothing.
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// Before hearing is tried again for the first time: a connection that broke is replaced at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before that: a database that is back is heard again within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Sends what has gathered: at once after a quiet time, else every 10 ms.
pub(in crate::runtime) async fn tell(core: Arc<Core>) {
    let outbox = &core.feed.outbox;
    let mut failing = false;
    while core.stopped.run_until_cancelled(outbox.filled.notified()).await.is_some() {
        let news = outbox.take();
        if !news.is_empty() {
            let sent = send(&core, &news).await;
            if let (Err(error), false) = (&sent, failing) {
                tracing::warn!(%error, "cannot tell other replicas; they find out by looking");
            }
            failing = sent.is_err();
        }
        tokio::time::sleep(FLUSH_INTERVAL).await;
    }
}

async fn send(core: &Core, news: &[News]) -> Result<(), StoreError> {
    let told = core.store().tell(core.authority().incarnation, news);
    let late = || Err(StoreError::Unavailable("no answer in time".to_owned()));
    tokio::time::timeout(SEND_DEADLINE, told).await.unwrap_or_else(|_| late())
}

/// Says once that threads of this replica may be claimed by others.
pub(in crate::runtime) async fn tell_of_work(core: &Core) {
    if let Err(error) = send(core, &[News::Work]).await {
        tracing::debug!(%error, "cannot tell other replicas of the work left");
    }
}

/// Acts on what other replicas tell, until the server has stopped.
pub(in crate::runtime) async fn hear(core: Arc<Core>) {
    let mut pause = FIRST_PAUSE;
    while let Some(heard) = core.stopped.run_until_cancelled(core.store().hear()).await {
        match heard {
            Ok(heard) => {
                pause = FIRST_PAUSE;
                act(&core, heard);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot hear other replicas; looking goes on");
                tokio::time::sleep(pause.mul_f64(0.5 + core.parts.entropy.unit())).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn act(core: &Core, heard: Heard) {
    let news = match heard {
        Heard::News { from, .. } if from == core.authority().incarnation => return,
        Heard::News { news, .. } => news,
        Heard::Anew => {
            // Whatever was said while nobody listened: heads, messages, work, and followers.
            core.feed.look_again();
            core.feed.outbox.followed();
            core.nudge.notify_one();
            return;
        }
    };
    for one in news {
        match one {
            News::Head(thread, seq) => core.feed.heard(&thread, seq),
            News::Mail(thread) => {
                core.poke(&thread);
            }
            News::Work if core.room() > 0 => core.nudge.notify_one(),
            News::Work => {}
            News::Followers => core.feed.outbox.followed(),
        }
    }
}

/// Says now and then that threads are followed here that others drive.
pub(in crate::runtime) async fn announce(core: Arc<Core>) {
    let stop = core.stopped.clone();
    while stop.run_until_cancelled(tokio::time::sleep(ANNOUNCE_INTERVAL)).await.is_some() {
        if core.feed.followed().iter().any(|thread| !core.is_at_work(thread)) {
            core.feed.outbox.followers();
        }
    }
}
