//! One reader of one thread's journal.
//!
//! It holds a cursor and at most one page of events, and reads the next page only once the last
//! one is sent: a reader that is slow, or stands still, costs nothing but its page. What wakes it
//! says only "there is more"; the journal says what, so that nothing can be lost or doubled.

use std::collections::VecDeque;
use std::convert::Infallible;

use axum::body::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;

use super::{KEEP_ALIVE, OpenStream, frame};
use crate::model::{Seq, ThreadId};
use crate::runtime::{EventPage, Follow, Handle, RawEvent};

/// Most events read at once; bounds the memory of a reader together with the size of an event.
pub(super) const PAGE: usize = 256;
/// A chunk is sent once it has this many bytes: few writes for many small events.
const CHUNK: usize = 16 * 1024;

/// Reads on from a cursor until the thread has ended.
pub(super) struct Reader {
    handle: Handle,
    thread: ThreadId,
    follow: Follow,
    /// The last event sent.
    cursor: Seq,
    /// The head of the journal, as far as it is known.
    head: Seq,
    /// Whether nothing follows the head.
    ended: bool,
    page: VecDeque<RawEvent>,
    /// Whether to begin with the notice that the client's cursor was beyond the journal.
    reset: bool,
    /// Whether no event was sent yet.
    first: bool,
    _open: OpenStream,
}

impl Reader {
    /// Starts behind `cursor` with a page that was read from there.
    pub(super) fn new(
        handle: &Handle,
        (thread, follow): (ThreadId, Follow),
        cursor: Seq,
        page: EventPage,
        open: OpenStream,
    ) -> Self {
        Self {
            handle: handle.clone(),
            thread,
            follow,
            cursor,
            head: page.head,
            ended: page.ended,
            page: page.events.into(),
            reset: false,
            first: true,
            _open: open,
        }
    }

    /// The same reader, telling the client first to forget what it has.
    #[must_use]
    pub(super) fn after_reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// The chunks of the stream, to its end.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        unfold(self, async |mut reader| {
            let chunk = reader.next().await?;
            Some((Ok(Bytes::from(chunk)), reader))
        })
    }

    /// The next chunk; `None` at the end of the thread, at shutdown, or when reading failed (the
    /// client then comes back with its cursor).
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(chunk) = self.take_chunk()? {
                return Some(chunk);
            }
            if self.cursor < self.head {
                self.read().await?;
                continue;
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                biased;
                () = self.handle.shutting_down() => return None,
                head = self.follow.beyond(self.cursor) => self.head = head,
                () = tokio::time::sleep(KEEP_ALIVE) => return Some(frame::KEEP_ALIVE.to_owned()),
            }
        }
    }

    /// Reads the page behind the cursor; `None` ends the stream.
    async fn read(&mut self) -> Option<()> {
        let read = tokio::select! {
            biased;
            () = self.handle.shutting_down() => return None,
            read = self.handle.events(&self.thread, self.cursor, PAGE) => read,
        };
        match read {
            Ok(page) if page.events.is_empty() && page.head > self.cursor => self.broken(),
            Ok(page) => {
                (self.head, self.ended) = (page.head, page.ended);
                self.page = page.events.into();
                Some(())
            }
            Err(error) => {
                tracing::warn!(thread_id = %self.thread, %error, "a stream ends: reading failed");
                None
            }
        }
    }

    /// Ends the stream because the journal's next record is not the next event.
    fn broken<T>(&self) -> Option<T> {
        tracing::error!(thread_id = %self.thread, after = self.cursor, "journal has a gap");
        None
    }

    /// Encodes what is at hand, up to about [`CHUNK`] bytes. The outer `None` ends the stream: an
    /// event that is not the next one must never be shown.
    #[expect(clippy::option_option, reason = "nothing at hand is not the end")]
    fn take_chunk(&mut self) -> Option<Option<String>> {
        let mut out = String::new();
        if std::mem::take(&mut self.reset) {
            frame::reset(&mut out, &self.thread, self.head);
            self.first = false;
        }
        while let Some(event) = self.page.pop_front() {
            if event.seq != self.cursor + 1 {
                return self.broken();
            }
            frame::event(&mut out, &event, std::mem::take(&mut self.first));
            self.cursor = event.seq;
            if out.len() >= CHUNK {
                break;
            }
        }
        Some(if out.is_empty() { None } else { Some(out) })
    }
}
