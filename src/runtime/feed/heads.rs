//! Tells readers the heads of journals. Events go only to the live stream, whose readers may miss
//! some; others read the journal from their own cursor, so lagging loses nothing.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::live::{LiveBuffers, LiveEvents, LiveInlet};
use super::queue::HintQueue;
use crate::model::{Clock, Event, Json, Namespace, Seq, ThreadId, ThreadStatus, lock};
use crate::runtime::lease::authority::Authority;
use crate::runtime::settings::FOLLOW_INTERVAL;
use crate::runtime::types::{LiveEvent, RawEvent};
use crate::runtime::write::availability::Availability;
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

/// The head of a followed journal, and how often its readers had to doubt what they have read.
#[derive(Debug, Clone, Copy)]
struct Known {
    head: Head,
    doubts: u64,
}

/// A followed journal. Readers are woken in the order in which they began to wait, because a
/// simulation must be repeatable (a `watch` channel wakes at random).
#[derive(Debug)]
struct Topic {
    known: Mutex<Known>,
    news: Notify,
}

impl Topic {
    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic under the lock cannot leave a number half changed.
        lock(&self.known)
    }

    /// Makes the readers look at what they have read.
    fn doubt(&self) {
        self.known().doubts += 1;
        self.news.notify_waiters();
    }
}

/// The followed journals, each with the number of its readers.
type Topics = BTreeMap<ThreadId, (Arc<Topic>, usize)>;

/// The heads of the followed journals.
#[derive(Debug)]
pub(in crate::runtime) struct Feed {
    topics: Mutex<Topics>,
    live: Arc<LiveBuffers>,
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
        if let Some(live) = self.live.of(write.thread_id()) {
            show(&live, write, records, (workflow, summary.status));
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
        let mut known = topic.known();
        if head.seq > known.head.seq {
            known.head = head;
            drop(known);
            topic.news.notify_waiters();
        }
    }

    /// Takes over the heads that the store has. One that is lower than what was known before the
    /// store was asked is a journal in an earlier state: the database was restored.
    fn compare(&self, asked: &[(ThreadId, Seq)], found: &[(ThreadId, Seq)]) {
        for (thread, seq) in found {
            let at = asked.binary_search_by(|(asked, _)| asked.cmp(thread));
            let known = at.ok().and_then(|at| asked.get(at)).map_or(0, |(_, seq)| *seq);
            if *seq >= known {
                self.raise(thread, Head { seq: *seq, ended: None });
                continue;
            }
            let topic = self.topics().get(thread).map(|(topic, _)| Arc::clone(topic));
            let Some(topic) = topic else { continue };
            tracing::error!(%thread, head = seq, earlier = known,
                "a journal is shorter than it was: was the database restored?");
            topic.known().head = Head { seq: *seq, ended: None };
            topic.doubt();
        }
    }

    /// Makes all readers look at what they have read: the store was away, and may have come back in
    /// an earlier state.
    fn doubt_all(&self) {
        for (topic, _) in self.topics().values() {
            topic.doubt();
        }
    }

    /// Follows the events of all threads of a namespace from now on.
    pub(in crate::runtime) fn live(&self, namespace: &Namespace) -> LiveEvents {
        LiveBuffers::follow(&self.live, namespace)
    }

    /// Returns the head of a followed thread, as far as it is known here.
    pub(in crate::runtime) fn head(&self, thread: &ThreadId) -> Option<Head> {
        self.topics().get(thread).map(|(topic, _)| topic.known().head)
    }

    /// Follows one thread's head.
    pub(in crate::runtime) fn follow(self: &Arc<Self>, thread: &ThreadId) -> Follow {
        let mut topics = self.topics();
        let (topic, readers) = topics.entry(thread.clone()).or_insert_with(|| {
            let known = Known { head: Head { seq: 0, ended: None }, doubts: 0 };
            (Arc::new(Topic { known: Mutex::new(known), news: Notify::new() }), 0)
        });
        *readers += 1;
        let doubts = topic.known().doubts;
        Follow { topic: Arc::clone(topic), thread: thread.clone(), feed: Arc::clone(self), doubts }
    }

    fn leave(&self, thread: &ThreadId) {
        let mut topics = self.topics();
        let Some((_, readers)) = topics.get_mut(thread) else { return };
        *readers -= 1;
        if *readers == 0 {
            topics.remove(thread);
        }
    }

    /// Returns the followed threads in order, each with its head as known here.
    pub(in crate::runtime) fn followed(&self) -> Vec<(ThreadId, Seq)> {
        let topics = self.topics();
        topics.iter().map(|(thread, (topic, _))| (thread.clone(), topic.known().head.seq)).collect()
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
        (store, availability): (Arc<dyn Store>, Arc<Availability>),
        mut authority: watch::Receiver<Arc<Authority>>,
        stop: CancellationToken,
    ) {
        let mut away = false;
        while stop.run_until_cancelled(self.next_look()).await.is_some() {
            let mut is_back = false;
            for some in self.followed().chunks(HEADS_PER_READ) {
                let threads: Vec<ThreadId> = some.iter().map(|(id, _)| id.clone()).collect();
                match store.heads(&threads).await {
                    Ok(found) => {
                        is_back |= away;
                        self.compare(some, &found);
                    }
                    Err(error) => {
                        away = true;
                        availability.failed("the look at the heads of journals", &error);
                    }
                }
            }
            // A restored database knows nothing of a lease from after its backup.
            let is_registered_anew = authority.has_changed().unwrap_or(false);
            if is_registered_anew || is_back {
                authority.mark_unchanged();
                away = false;
                self.doubt_all();
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

fn show(live: &LiveInlet, write: &Write, records: &Records, of: (&Arc<str>, ThreadStatus)) {
    let (workflow, status) = of;
    for event in raw_events(records) {
        live.push(LiveEvent {
            event,
            thread_id: write.thread_id().clone(),
            workflow: Arc::clone(workflow),
            status,
        });
    }
}

/// Follows the head of one thread's journal; see `Handle::follow`.
#[derive(Debug)]
pub struct Follow {
    topic: Arc<Topic>,
    thread: ThreadId,
    feed: Arc<Feed>,
    /// The doubts that the follower knows of.
    doubts: u64,
}

impl Follow {
    /// Returns whether what was read of the journal may not be its past any more, and has to be
    /// compared. Tells of each occasion once.
    pub fn is_in_doubt(&mut self) -> bool {
        let doubts = self.topic.known().doubts;
        std::mem::replace(&mut self.doubts, doubts) != doubts
    }

    /// Resolves once [`Self::is_in_doubt`].
    pub async fn doubted(&self) {
        self.until(|known| known.doubts != self.doubts).await;
    }

    /// Resolves with the head once it is beyond `seen`.
    pub async fn beyond(&self, seen: Seq) -> Seq {
        self.until(|known| known.head.seq > seen).await.head.seq
    }

    /// Resolves with the next head that `wanted` accepts.
    pub(in crate::runtime) async fn wait(
        &mut self,
        mut wanted: impl FnMut(&Head) -> bool + Send,
    ) -> Head {
        self.until(|known| wanted(&known.head)).await.head
    }

    async fn until(&self, mut wanted: impl FnMut(&Known) -> bool + Send) -> Known {
        loop {
            let mut news = pin!(self.topic.news.notified());
            // Register for the wake-up before reading the head, so that an update in between is not
            // lost.
            news.as_mut().enable();
            let known = *self.topic.known();
            if wanted(&known) {
                return known;
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
