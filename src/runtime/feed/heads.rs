//! Tells readers the heads of journals. Events go only to the live stream, whose readers may miss
//! some; others read the journal from their own cursor, so lagging loses nothing.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::live::{LiveBuffer, LiveEvents};
use super::queue::HintQueue;
use crate::model::{Clock, Event, Json, Seq, ThreadId, ThreadStatus, lock};
use crate::runtime::settings::FOLLOW_INTERVAL;
use crate::runtime::types::{LiveEvent, RawEvent};
use crate::store::{Records, Store, Write};

/// The number of threads whose heads are read with one statement.
const HEADS_PER_READ: usize = 500;

/// The delay of a read of the heads after the first follower was announced or the listening
/// connection came back: by then other replicas publish their heads, and the read finds earlier
/// writes.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(25);

/// The head of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Head {
    /// The number of the last event.
    pub(in crate::runtime) seq: Seq,
    /// Set if that event ended the thread; `None` if only the number is known.
    pub(in crate::runtime) ended: Option<bool>,
}

/// A followed journal. Readers are woken in the order in which they began to wait, because a
/// simulation must be repeatable (a `watch` channel wakes at random).
#[derive(Debug)]
struct Topic {
    head: Mutex<Head>,
    news: Notify,
}

impl Topic {
    fn head(&self) -> MutexGuard<'_, Head> {
        // A panic under the lock cannot leave a number half changed.
        lock(&self.head)
    }
}

/// The followed journals, each with the number of its readers.
type Topics = BTreeMap<ThreadId, (Arc<Topic>, usize)>;

/// The heads of the followed journals.
#[derive(Debug)]
pub(in crate::runtime) struct Feed {
    topics: Mutex<Topics>,
    live: Arc<LiveBuffer>,
    /// Hints for replicas whose readers follow threads that are written here.
    pub(in crate::runtime) hints: Arc<HintQueue>,
    /// Wakes the poll early.
    again: Notify,
}

impl Feed {
    pub(in crate::runtime) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            topics: Mutex::default(),
            live: Arc::default(),
            hints: Arc::new(HintQueue::new(clock)),
            again: Notify::new(),
        }
    }

    fn topics(&self) -> MutexGuard<'_, Topics> {
        // A panic under the lock cannot leave a map of topics half changed.
        lock(&self.topics)
    }

    /// Publishes a write that has become durable.
    pub(in crate::runtime) fn committed(&self, write: &Write, workflow: &Arc<str>) {
        let (records, summary) = match write {
            // A fork's history was published when it happened.
            Write::Start(start) => (Some(start.newest()), &start.summary),
            Write::Append(append) => (append.records.as_ref(), &append.summary),
        };
        let Some(records) = records else { return };
        let ended = Some(summary.status.is_terminal());
        self.raise(write.thread_id(), Head { seq: records.last(), ended });
        self.hints.head(write.thread_id(), records.last());
        if self.live.has_readers() {
            self.show(write, records, (workflow, summary.status));
        }
    }

    /// Records a journal head that another replica published.
    pub(in crate::runtime) fn heard(&self, thread: &ThreadId, seq: Seq) {
        self.raise(thread, Head { seq, ended: None });
    }

    /// Makes the poll read the heads from the store soon.
    pub(in crate::runtime) fn look_again(&self) {
        self.again.notify_one();
    }

    fn raise(&self, thread: &ThreadId, head: Head) {
        let topic = self.topics().get(thread).map(|(topic, _)| Arc::clone(topic));
        let Some(topic) = topic else { return };
        let mut seen = topic.head();
        if head.seq > seen.seq {
            *seen = head;
            drop(seen);
            topic.news.notify_waiters();
        }
    }

    fn show(&self, write: &Write, records: &Records, of: (&Arc<str>, ThreadStatus)) {
        let (workflow, status) = of;
        for event in raw_events(records) {
            let live = LiveEvent {
                event,
                thread_id: write.thread_id().clone(),
                workflow: Arc::clone(workflow),
                status,
            };
            self.live.push(live);
        }
    }

    /// Follows the events of all threads from now on.
    pub(in crate::runtime) fn live(&self) -> LiveEvents {
        LiveBuffer::follow(&self.live)
    }

    /// Returns the head of a followed thread, as far as it is known here.
    pub(in crate::runtime) fn head(&self, thread: &ThreadId) -> Option<Head> {
        self.topics().get(thread).map(|(topic, _)| *topic.head())
    }

    /// Follows one thread's head.
    pub(in crate::runtime) fn follow(self: &Arc<Self>, thread: &ThreadId) -> Follow {
        let mut topics = self.topics();
        let (topic, readers) = topics.entry(thread.clone()).or_insert_with(|| {
            let head = Mutex::new(Head { seq: 0, ended: None });
            (Arc::new(Topic { head, news: Notify::new() }), 0)
        });
        *readers += 1;
        Follow { topic: Arc::clone(topic), thread: thread.clone(), feed: Arc::clone(self) }
    }

    fn leave(&self, thread: &ThreadId) {
        let mut topics = self.topics();
        let Some((_, readers)) = topics.get_mut(thread) else { return };
        *readers -= 1;
        if *readers == 0 {
            topics.remove(thread);
        }
    }

    /// Returns the followed threads.
    pub(in crate::runtime) fn followed(&self) -> Vec<ThreadId> {
        self.topics().keys().cloned().collect()
    }

    async fn next_look(&self) {
        tokio::select! {
            biased;
            () = self.again.notified() => tokio::time::sleep(LOOK_AGAIN_AFTER).await,
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
        }
    }

    /// Reads the heads of followed threads from the store at intervals: this makes the feed correct
    /// for threads that another replica drives, and after a lost wake-up.
    pub(in crate::runtime) async fn poll(
        self: Arc<Self>,
        store: Arc<dyn Store>,
        stop: CancellationToken,
    ) {
        while stop.run_until_cancelled(self.next_look()).await.is_some() {
            for some in self.followed().chunks(HEADS_PER_READ) {
                match store.heads(some).await {
                    Ok(heads) => {
                        for (thread, seq) in heads {
                            self.raise(&thread, Head { seq, ended: None });
                        }
                    }
                    Err(error) => tracing::warn!(%error, "cannot read journal heads"),
                }
            }
        }
    }
}

/// Returns the events of one record as clients see them.
pub(in crate::runtime) fn raw_events(records: &Records) -> impl Iterator<Item = RawEvent> + '_ {
    records.events.iter().zip(records.first..).map(|(text, seq)| RawEvent {
        seq,
        kind: Event::kind_of(text),
        json: Json::trusted(text.clone()).unwrap_or_else(|_| Json::null()),
    })
}

/// Follows the head of one thread's journal; see `Handle::follow`.
#[derive(Debug)]
pub struct Follow {
    topic: Arc<Topic>,
    thread: ThreadId,
    feed: Arc<Feed>,
}

impl Follow {
    /// Resolves with the head once it is beyond `seen`.
    pub async fn beyond(&mut self, seen: Seq) -> Seq {
        self.wait(|head| head.seq > seen).await.seq
    }

    /// Resolves with the next head that `wanted` accepts.
    pub(in crate::runtime) async fn wait(
        &mut self,
        mut wanted: impl FnMut(&Head) -> bool + Send,
    ) -> Head {
        loop {
            let mut news = pin!(self.topic.news.notified());
            // Register for the wake-up before reading the head, so that an update in between is not
            // lost.
            news.as_mut().enable();
            let head = *self.topic.head();
            if wanted(&head) {
                return head;
            }
            news.await;
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.feed.leave(&self.thread);
    }
}
