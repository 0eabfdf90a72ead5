//! The queue of hints that wait to be published to other replicas, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::{Clock, Seq, ThreadId, lock, millis};
use crate::store::Hint;

/// Interval at which a replica publishes that it has followers, while it has some.
pub(in crate::runtime) const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// How long an announcement is valid: two of them may be lost.
const FOLLOWED_FOR: Duration = Duration::from_secs(7);
/// The most threads queued per kind of hint; other replicas find out about further ones by polling.
const MAX_WAITING: usize = 10_000;

/// Queued hints, each once.
#[derive(Debug, Default)]
struct Waiting {
    heads: BTreeMap<ThreadId, Seq>,
    mail: BTreeSet<ThreadId>,
    work: bool,
    followers: bool,
}

/// Hints for other replicas that wait to be published; see `hints`.
#[derive(Debug)]
pub(in crate::runtime) struct HintQueue {
    waiting: Mutex<Waiting>,
    pub(in crate::runtime) filled: Notify,
    clock: Arc<dyn Clock>,
    /// The monotonic milliseconds until which another replica follows threads; 0: none ever did.
    followed_until: AtomicU64,
    /// The monotonic milliseconds until which the followers here need no other announcement.
    announced_until: AtomicU64,
}

impl HintQueue {
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
        lock(&self.waiting)
    }

    fn now(&self) -> u64 {
        millis(self.clock.monotonic())
    }

    fn after(&self, time: Duration) -> u64 {
        self.now().saturating_add(millis(time))
    }

    /// Queues a hint that a journal has come to `seq`, if another replica has followers.
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

    /// Queues a hint that a thread driven elsewhere has a message.
    pub(in crate::runtime) fn mail(&self, thread: &ThreadId) {
        let mut waiting = self.waiting();
        if waiting.mail.len() < MAX_WAITING {
            waiting.mail.insert(thread.clone());
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// Queues a hint that threads are due for which this replica may not have room.
    pub(in crate::runtime) fn work(&self) {
        self.waiting().work = true;
        self.filled.notify_one();
    }

    /// Announces that a thread driven elsewhere is followed here; returns whether this queued a
    /// hint.
    pub(in crate::runtime) fn followers(&self) -> bool {
        if self.now() < self.announced_until.load(Ordering::Relaxed) {
            return false;
        }
        self.announced_until.store(self.after(ANNOUNCE_INTERVAL), Ordering::Relaxed);
        self.waiting().followers = true;
        self.filled.notify_one();
        true
    }

    /// Records that another replica follows threads.
    pub(in crate::runtime) fn followed(&self) {
        self.followed_until.store(self.after(FOLLOWED_FOR), Ordering::Relaxed);
    }

    /// Takes all queued hints.
    pub(in crate::runtime) fn take(&self) -> Vec<Hint> {
        let Waiting { heads, mail, work, followers } = std::mem::take(&mut *self.waiting());
        let mut hints = Vec::with_capacity(heads.len() + mail.len() + 2);
        hints.extend(followers.then_some(Hint::Followers));
        hints.extend(work.then_some(Hint::Work));
        hints.extend(mail.into_iter().map(Hint::Message));
        hints.extend(heads.into_iter().map(|(thread, seq)| Hint::Head(thread, seq)));
        hints
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
        let queue = HintQueue::new(Arc::new(Still));
        queue.head(&id("a"), 1);
        assert_eq!(queue.take(), []);
        queue.followed();
        for seq in [2, 4, 3] {
            queue.head(&id("a"), seq);
        }
        queue.work();
        queue.mail(&id("b"));
        queue.mail(&id("b"));
        let hints = [Hint::Work, Hint::Message(id("b")), Hint::Head(id("a"), 4)];
        assert_eq!(queue.take(), hints);
        assert_eq!(queue.take(), []);
    }

    #[test]
    fn followers_are_announced_at_once_and_then_now_and_then() {
        let queue = HintQueue::new(Arc::new(Still));
        assert!(queue.followers());
        assert!(!queue.followers());
        assert_eq!(queue.take(), [Hint::Followers]);
    }
}
