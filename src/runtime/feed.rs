//! Tells readers how far journals have come. Carries no event to anyone who must not miss one:
//! a reader reads the journal from its own cursor, so that lagging can lose nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::handle::{LiveEvent, RawEvent};
use super::settings::FOLLOW_INTERVAL;
use crate::model::{Event, Json, Seq, ThreadId, ThreadStatus};
use crate::store::{Records, Store, Write};

/// Events kept for readers of the live stream of all threads; one that lags further misses some.
const LIVE_BUFFER: usize = 1_024;
/// Threads whose heads are read with one statement.
const HEADS_PER_READ: usize = 500;

/// How far a journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its last event.
    pub(super) seq: Seq,
    /// Whether that ended the thread; `None` if only the number is known.
    pub(super) ended: Option<bool>,
}

/// The journal heads that somebody follows.
#[derive(Debug)]
pub(super) struct Feed {
    topics: Mutex<HashMap<ThreadId, watch::Sender<Head>>>,
    live: broadcast::Sender<LiveEvent>,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self { topics: Mutex::default(), live: broadcast::channel(LIVE_BUFFER).0 }
    }

    fn topics(&self) -> MutexGuard<'_, HashMap<ThreadId, watch::Sender<Head>>> {
        // A panic while it was held cannot leave a map of watches half changed.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write has become durable.
    pub(super) fn committed(&self, write: &Write, workflow: &Arc<str>) {
        let (records, summary) = match write {
            Write::Start(start) => (Some(&start.records), &start.summary),
            Write::Append(append) => (append.records.as_ref(), &append.summary),
        };
        let Some(records) = records else { return };
        let ended = Some(summary.status.is_terminal());
        self.raise(write.thread_id(), Head { seq: records.last(), ended });
        if self.live.receiver_count() > 0 {
            self.show(write, records, (workflow, summary.status));
        }
    }

    fn raise(&self, thread: &ThreadId, head: Head) {
        if let Some(topic) = self.topics().get(thread) {
            topic.send_if_modified(|seen| {
                let news = head.seq > seen.seq;
                if news {
                    *seen = head;
                }
                news
            });
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
            // No receiver is left: nobody misses it.
            drop(self.live.send(live));
        }
    }

    /// Events of all threads from now on.
    pub(super) fn live(&self) -> broadcast::Receiver<LiveEvent> {
        self.live.subscribe()
    }

    /// Follows one thread's head.
    pub(super) fn follow(self: &Arc<Self>, thread: &ThreadId) -> Follow {
        let mut topics = self.topics();
        let topic = topics
            .entry(thread.clone())
            .or_insert_with(|| watch::Sender::new(Head { seq: 0, ended: None }));
        Follow { heads: topic.subscribe(), thread: thread.clone(), feed: Arc::clone(self) }
    }

    fn leave(&self, thread: &ThreadId) {
        let mut topics = self.topics();
        // The leaving reader still counts as a receiver here.
        if topics.get(thread).is_some_and(|topic| topic.receiver_count() <= 1) {
            topics.remove(thread);
        }
    }

    /// Reads the heads of followed threads from the store now and then: what makes the feed
    /// correct for threads that another replica drives, and after a lost wake-up.
    pub(super) async fn poll(self: Arc<Self>, store: Arc<dyn Store>, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(FOLLOW_INTERVAL)).await.is_some() {
            let followed: Vec<ThreadId> = self.topics().keys().cloned().collect();
            for some in followed.chunks(HEADS_PER_READ) {
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

/// The events of one record, as clients see them.
pub(super) fn raw_events(records: &Records) -> impl Iterator<Item = RawEvent> + '_ {
    records.events.iter().zip(records.first..).map(|(text, seq)| RawEvent {
        seq,
        kind: Event::kind_of(text),
        json: Json::trusted(text.clone()).unwrap_or_else(|_| Json::null()),
    })
}

/// Follows the head of one thread's journal; see [`super::Handle::follow`].
#[derive(Debug)]
pub struct Follow {
    heads: watch::Receiver<Head>,
    thread: ThreadId,
    feed: Arc<Feed>,
}

impl Follow {
    /// Resolves with the head once it is beyond `seen`.
    pub async fn beyond(&mut self, seen: Seq) -> Seq {
        self.wait(|head| head.seq > seen).await.seq
    }

    /// Resolves with the next head that `wanted` accepts.
    pub(super) async fn wait(&mut self, wanted: impl FnMut(&Head) -> bool + Send) -> Head {
        let head = self.heads.wait_for(wanted).await.ok().map(|head| *head);
        match head {
            Some(head) => head,
            // The topic lives as long as anyone follows it, and this reader does.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        self.feed.leave(&self.thread);
    }
}
