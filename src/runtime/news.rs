//! Tells other replicas what they may want to know, and acts on what they tell.
//!
//! Every hint may be lost: the polls of the dispatcher and of the feed stay what makes the server
//! correct, this only makes it quick. Nothing here holds a writer up: what is to be told is noted
//! in a map, and one task sends it; if it cannot, it logs that and forgets it. The feed, the mail
//! and a shutdown note what is to be told; [`super::start`] starts the loops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::core::Core;
use crate::model::{Clock, Seq, ThreadId};
use crate::store::{Heard, News, StoreError};

/// Between two statements that notify: each takes a lock on all commits of the database.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);
/// How often a replica says that it has followers, while it has some.
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// How long an announcement holds: two of them may be lost.
const FOLLOWED_FOR: Duration = Duration::from_secs(7);
/// Threads waiting to be told of at the most; beyond, others find out by their polls.
const MAX_WAITING: usize = 10_000;
/// What the store gets to send hints: later they are worth nothing.
const SEND_DEADLINE: Duration = Duration::from_secs(1);
/// Before hearing is tried again for the first time: a connection that broke is replaced at once.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause before that: a database that is back is heard again within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is to be told, each thing once.
#[derive(Debug, Default)]
struct Waiting {
    heads: BTreeMap<ThreadId, Seq>,
    mail: BTreeSet<ThreadId>,
    work: bool,
    followers: bool,
}

/// Collects hints for the other replicas; see [`tell`].
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    filled: Notify,
    clock: Arc<dyn Clock>,
    /// Monotonic milliseconds until which some other replica follows threads; 0: none ever did.
    followed_until: AtomicU64,
    /// Monotonic milliseconds until which it need not be said that there are followers here.
    announced_until: AtomicU64,
}

impl Outbox {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            waiting: Mutex::default(),
            filled: Notify::new(),
            clock,
            followed_until: AtomicU64::new(0),
            announced_until: AtomicU64::new(0),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic while it was held leaves a hint out at worst.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn after(&self, time: Duration) -> u64 {
        self.now().saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    /// A journal has come to `seq`. Told only while somebody elsewhere follows anything.
    pub(super) fn head(&self, thread: &ThreadId, seq: Seq) {
        let until = self.followed_until.load(Ordering::Relaxed);
        if until == 0 || self.now() >= until {
            return;
        }
        let mut waiting = self.waiting();
        if let Some(head) = waiting.heads.get_mut(thread) {
            *head = seq.max(*head);
            return;
        }
        if waiting.heads.len() < MAX_WAITING {
            waiting.heads.insert(thread.clone(), seq);
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// A thread that is driven elsewhere has a message.
    pub(super) fn mail(&self, thread: &ThreadId) {
        let mut waiting = self.waiting();
        if waiting.mail.len() < MAX_WAITING {
            waiting.mail.insert(thread.clone());
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Threads are due that this replica may not have room for.
    pub(super) fn work(&self) {
        self.waiting().work = true;
        self.filled.notify_one();
    }

    /// A thread that is not driven here is followed; `true` if that is news to the others.
    pub(super) fn followers(&self) -> bool {
        if self.now() < self.announced_until.load(Ordering::Relaxed) {
            return false;
        }
        self.announced_until.store(self.after(ANNOUNCE_INTERVAL), Ordering::Relaxed);
        self.waiting().followers = true;
        self.filled.notify_one();
        true
    }

    /// Somebody elsewhere follows threads.
    fn followed(&self) {
        self.followed_until.store(self.after(FOLLOWED_FOR), Ordering::Relaxed);
    }

    fn take(&self) -> Vec<News> {
        let Waiting { heads, mail, work, followers } = std::mem::take(&mut *self.waiting());
        let mut news = Vec::with_capacity(heads.len() + mail.len() + 2);
        news.extend(followers.then_some(News::Followers));
        news.extend(work.then_some(News::Work));
        news.extend(mail.into_iter().map(News::Mail));
        news.extend(heads.into_iter().map(|(thread, seq)| News::Head(thread, seq)));
        news
    }
}

/// Sends what has gathered: at once after a quiet time, else every 10 ms.
pub(super) async fn tell(core: Arc<Core>) {
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
pub(super) async fn tell_of_work(core: &Core) {
    if let Err(error) = send(core, &[News::Work]).await {
        tracing::debug!(%error, "cannot tell other replicas of the work left");
    }
}

/// Acts on what other replicas tell, until the server has stopped.
pub(super) async fn hear(core: Arc<Core>) {
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
pub(super) async fn announce(core: Arc<Core>) {
    let stop = core.stopped.clone();
    while stop.run_until_cancelled(tokio::time::sleep(ANNOUNCE_INTERVAL)).await.is_some() {
        if core.feed.followed().iter().any(|thread| !core.is_at_work(thread)) {
            core.feed.outbox.followers();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn id(name: &str) -> ThreadId {
        ThreadId::parse(name).unwrap()
    }

    #[test]
    fn heads_are_told_only_while_somebody_follows_and_each_once() {
        let outbox = Outbox::new(Arc::new(Still));
        outbox.head(&id("a"), 1);
        assert_eq!(outbox.take(), []);
        outbox.followed();
        for seq in [2, 4, 3] {
            outbox.head(&id("a"), seq);
        }
        outbox.work();
        outbox.mail(&id("b"));
        outbox.mail(&id("b"));
        let news = [News::Work, News::Mail(id("b")), News::Head(id("a"), 4)];
        assert_eq!(outbox.take(), news);
        assert_eq!(outbox.take(), []);
    }

    #[test]
    fn followers_are_announced_at_once_and_then_now_and_then() {
        let outbox = Outbox::new(Arc::new(Still));
        assert!(outbox.followers());
        assert!(!outbox.followers());
        assert_eq!(outbox.take(), [News::Followers]);
    }
}
