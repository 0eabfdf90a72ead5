//! Hints for other replicas that wait to be sent, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::{Clock, Seq, ThreadId};
use crate::store::News;

/// How often a replica says that it has followers, while it has some.
pub(in crate::runtime) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// How long an announcement holds: two of them may be lost.
const FOLLOWED_FOR: Duration = Duration::from_secs(7);
/// Threads waiting to be told of at the most; beyond, others find out by their polls.
const MAX_WAITING: usize = 10_000;

/// What is to be told, each thing once.
#[derive(Debug, Default)]
struct Waiting {
    heads: BTreeMap<ThreadId, Seq>,
    mail: BTreeSet<ThreadId>,
    work: bool,
    followers: bool,
}

/// Collects hints for the other replicas; see `hints`.
#[derive(Debug)]
pub(in crate::runtime) struct Outbox {
    waiting: Mutex<Waiting>,
    pub(in crate::runtime) filled: Notify,
    clock: Arc<dyn Clock>,
    /// Monotonic milliseconds until which some other replica follows threads; 0: none ever did.
    followed_until: AtomicU64,
    /// Monotonic milliseconds until which it need not be said that there are followers here.
    announced_until: AtomicU64,
}

impl Outbox {
    pub(in crate::runtime) fn new(clock: Arc<dyn Clock>) -> Self {
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
    pub(in crate::runtime) fn head(&self, thread: &ThreadId, seq: Seq) {
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
    pub(in crate::runtime) fn mail(&self, thread: &ThreadId) {
        let mut waiting = self.waiting();
        if waiting.mail.len() < MAX_WAITING {
            waiting.mail.insert(thread.clone());
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Threads are due that this replica may not have room for.
    pub(in crate::runtime) fn work(&self) {
        self.waiting().work = true;
        self.filled.notify_one();
    }

    /// A thread that is not driven here is followed; `true` if that is news to the others.
    pub(in crate::runtime) fn followers(&self) -> bool {
        if self.now() < self.announced_until.load(Ordering::Relaxed) {
            return false;
        }
        self.announced_until.store(self.after(ANNOUNCE_INTERVAL), Ordering::Relaxed);
        self.waiting().followers = true;
        self.filled.notify_one();
        true
    }

    /// Somebody elsewhere follows threads.
    pub(in crate::runtime) fn followed(&self) {
        self.followed_until.store(self.after(FOLLOWED_FOR), Ordering::Relaxed);
    }

    /// Empties it.
    pub(in crate::runtime) fn take(&self) -> Vec<News> {
        let Waiting { heads, mail, work, followers } = std::mem::take(&mut *self.waiting());
        let mut news = Vec::with_capacity(heads.len() + mail.len() + 2);
        news.extend(followers.then_some(News::Followers));
        news.extend(work.then_some(News::Work));
        news.extend(mail.into_iter().map(News::Mail));
        news.extend(heads.into_iter().map(|(thread, seq)| News::Head(thread, seq)));
        news
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
