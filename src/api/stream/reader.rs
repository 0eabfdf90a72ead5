//! One reader of one thread's journal.
//!
//! It holds a cursor and at most one small page of events, or one large event shared with the other
//! readers at that place. It reads on only once that is sent, so a slow or stopped reader costs
//! almost nothing. A wake-up only says "there is more"; the journal has the events, so none is lost
//! or doubled.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::unfold;
use tokio::time::Instant;
use tokio_stream::Stream;

use super::chunk::Chunk;
use super::turn::{Turn, turn};
use super::{OpenStream, frame};
use crate::model::{Seq, ThreadId};
use crate::runtime::{EventPage, Follow, Handle, HeldEvent, RawEvent, RuntimeError};

/// The most events read at once.
const MOST_EVENTS: usize = 256;
/// The events of the first read, while their size is unknown.
pub(super) const FIRST_EVENTS: usize = 64;
/// The most bytes of events that a reader holds, unless one event is larger.
const PAGE_BYTES: usize = 64 * 1024;

/// The time without a look at the journal after which the last event is read again: no database is
/// restored in less.
const UNBROKEN: Duration = Duration::from_millis(200);
/// The tries to read from a store that was away and does not answer yet, and the pause between them:
/// long enough for a database that comes back.
const TRIES_IN_DOUBT: u32 = 30;
const READ_AGAIN: Duration = Duration::from_secs(1);

fn hash(event: &RawEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.json.as_str().hash(&mut hasher);
    hasher.finish()
}

/// Reads on from a cursor until the thread has ended.
pub(super) struct Reader {
    handle: Handle,
    thread: ThreadId,
    follow: Follow,
    /// The last event sent, and the hash of its text, if it was sent or read here.
    cursor: Seq,
    hash: Option<u64>,
    /// The start of the last look at the journal; `None` if the last event has to be read again
    /// before anything is sent.
    looked_at: Option<Instant>,
    /// The head of the journal, as far as the reader knows it.
    head: Seq,
    /// Set if nothing follows the head.
    ended: bool,
    page: VecDeque<HeldEvent>,
    /// The events to read next, estimated from the last ones' size.
    events: usize,
    /// The bytes to send next.
    chunk: Chunk,
    /// Set to send a reset first: the client's cursor was beyond the journal.
    reset: bool,
    /// Set until a frame is sent.
    first: bool,
    open: OpenStream,
}

impl Reader {
    /// Makes a reader that continues after `cursor` with this page.
    pub(super) fn new(
        handle: &Handle,
        (thread, follow): (ThreadId, Follow),
        cursor: Seq,
        page: EventPage,
        open: OpenStream,
    ) -> Result<Self, RuntimeError> {
        let mut reader = Self {
            handle: handle.clone(),
            thread,
            follow,
            cursor,
            hash: None,
            looked_at: Some(Instant::now()),
            head: page.head,
            ended: page.ended,
            page: VecDeque::new(),
            events: FIRST_EVENTS,
            chunk: Chunk::default(),
            reset: false,
            first: true,
            open,
        };
        reader.hold(page.events)?;
        Ok(reader)
    }

    /// Holds the first events of a page. The rest is read again once these are sent.
    fn hold(&mut self, events: Vec<RawEvent>) -> Result<(), RuntimeError> {
        let (mut bytes, mut own) = (0, 0);
        for event in events {
            let size = event.json.as_str().len();
            if bytes > 0 && bytes + size > PAGE_BYTES {
                break;
            }
            bytes += size;
            let held = self.handle.share(&self.thread, event)?;
            if matches!(held, HeldEvent::Own(_)) {
                own += size;
            }
            self.page.push_back(held);
        }
        self.open.holds(own)?;
        self.events = (PAGE_BYTES * self.page.len().max(1) / bytes.max(1)).clamp(1, MOST_EVENTS);
        Ok(())
    }

    /// Makes the stream first tell the client to drop its events.
    #[must_use]
    pub(super) fn after_reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// Returns the chunks of the stream, to its end.
    pub(super) fn into_stream(self) -> impl Stream<Item = Bytes> + Send {
        unfold(self, async |mut reader| {
            let chunk = reader.next().await?;
            Some((chunk, reader))
        })
    }

    /// Returns the next chunk; `None` at the end of the thread, at shutdown, or when reading failed
    /// (the client then comes back with its cursor).
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.fill()?;
            if let Some(chunk) = self.chunk.take() {
                return Some(chunk);
            }
            if self.follow.is_in_doubt() {
                self.looked_at = None;
            }
            if self.cursor < self.head || self.looked_at.is_none() {
                self.read().await?;
                continue;
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                () = self.handle.shutting_down() => return None,
                () = self.follow.doubted() => {}
                seq = self.follow.beyond(self.cursor) => self.head = seq,
            }
        }
    }

    /// Reads the page after the cursor; `None` ends the stream.
    ///
    /// After a while without a look at the journal, the last event that was sent is read again with
    /// the page: the database may have come back in an earlier state meanwhile, with other events
    /// under the same numbers.
    async fn read(&mut self) -> Option<()> {
        let began = Instant::now();
        let unbroken = self.looked_at.is_some_and(|last| began.duration_since(last) < UNBROKEN);
        let again = self.cursor > 0 && !unbroken;
        let after = self.cursor - u64::from(again);
        let (mut page, mut turn) = self.page_after(after, self.events + usize::from(again)).await?;
        if again {
            if !page.events.first().is_some_and(|last| self.is_last(last)) {
                self.begin_anew(&page);
                return Some(());
            }
            page.events.remove(0);
            // The last event may be as large as a page.
            if page.events.is_empty() && page.head > self.cursor {
                drop((page, turn));
                (page, turn) = self.page_after(self.cursor, self.events).await?;
            }
        }
        self.looked_at = Some(began);
        (self.head, self.ended) = (page.head, page.ended);
        if page.events.is_empty() && page.head > self.cursor {
            return self.broken();
        }
        let held = self.hold(page.events);
        drop(turn);
        if let Err(error) = held {
            self.ends(&error);
            return None;
        }
        Some(())
    }

    /// Returns whether this is the last event that was sent, as far as that is known here.
    fn is_last(&self, event: &RawEvent) -> bool {
        event.seq == self.cursor && self.hash.is_none_or(|sent| sent == hash(event))
    }

    /// Tells the client to drop its events, and begins with the first one again.
    fn begin_anew(&mut self, page: &EventPage) {
        self.looked_at = Some(Instant::now());
        (self.head, self.ended) = (page.head, page.ended);
        tracing::error!(thread_id = %self.thread, after = self.cursor, head = self.head,
            "a reader has events that the journal does not have: it begins anew");
        self.open.metrics.stream_reset();
        (self.cursor, self.hash, self.reset) = (0, None, true);
    }

    /// Reads events in a turn, which is to be kept until they are held; in doubt, until the store
    /// answers, for a while. `None` ends the stream.
    async fn page_after(&self, after: Seq, limit: usize) -> Option<(EventPage, Turn)> {
        let tries = if self.looked_at.is_none() { TRIES_IN_DOUBT } else { 1 };
        for left in (0..tries).rev() {
            let turn = turn().await;
            let read = tokio::select! {
                biased;
                () = self.handle.shutting_down() => return None,
                read = self.handle.events(&self.thread, after, limit) => read,
            };
            match read {
                Ok(page) => return Some((page, turn)),
                Err(error) if left == 0 || error == RuntimeError::ThreadNotFound => {
                    self.ends(&error);
                    return None;
                }
                Err(error) => tracing::debug!(thread_id = %self.thread, %error, "read again"),
            }
            drop(turn);
            tokio::time::sleep(READ_AGAIN).await;
        }
        None
    }

    /// Logs why a stream ends. An outage, which ends all, is told by whoever noticed it.
    fn ends(&self, error: &RuntimeError) {
        if error.is_of_an_outage() {
            tracing::debug!(thread_id = %self.thread, %error, "a stream ends: reading failed");
        } else {
            tracing::warn!(thread_id = %self.thread, %error, "a stream ends: reading failed");
        }
    }

    /// Ends the stream, because the journal has a gap after the cursor.
    fn broken<T>(&self) -> Option<T> {
        tracing::error!(thread_id = %self.thread, after = self.cursor, "journal has a gap");
        self.open.metrics.journal_gap();
        None
    }

    /// Encodes the held events until the chunk is full. `None` ends the stream: an event out of
    /// order must never be sent.
    fn fill(&mut self) -> Option<()> {
        if std::mem::take(&mut self.reset) {
            frame::reset(&mut self.chunk.text, &self.thread, self.head);
            self.first = false;
        }
        while !self.chunk.is_full()
            && let Some(held) = self.page.pop_front()
        {
            let event = held.event();
            if event.seq != self.cursor + 1 {
                return self.broken();
            }
            (self.cursor, self.hash) = (event.seq, Some(hash(event)));
            frame::event(&mut self.chunk.text, event, std::mem::take(&mut self.first));
            self.chunk.data(held);
        }
        Some(())
    }
}
