//! The newest events that this replica wrote, for readers that follow them live.
//!
//! Bounded in events and in bytes: a reader that lags further misses some, and is told how many.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::model::lock;
use crate::runtime::types::LiveEvent;

/// The most events kept, which is how far a reader may lag.
const MAX_EVENTS: usize = 1_024;
/// The most bytes kept; one larger event is kept alone.
const MAX_BYTES: usize = 8 << 20;

/// The kept events, and the number of their readers.
#[derive(Debug, Default)]
pub(in crate::runtime) struct LiveBuffer {
    kept: Mutex<Kept>,
    readers: AtomicUsize,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<LiveEvent>,
    bytes: usize,
    /// The number of the first kept event, counted from the start of the process.
    first: u64,
}

impl Kept {
    fn next(&self) -> u64 {
        self.first + u64::try_from(self.events.len()).unwrap_or(u64::MAX)
    }

    fn forget_first(&mut self) {
        if let Some(gone) = self.events.pop_front() {
            self.bytes = self.bytes.saturating_sub(size(&gone));
            self.first += 1;
        }
    }
}

fn size(live: &LiveEvent) -> usize {
    live.event.json.as_str().len()
}

impl LiveBuffer {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic under the lock leaves at worst one event whose bytes are counted twice.
        lock(&self.kept)
    }

    /// Returns whether anybody follows the events.
    pub(in crate::runtime) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Shows the next event to all readers.
    pub(in crate::runtime) fn push(&self, live: LiveEvent) {
        let mut kept = self.kept();
        kept.bytes += size(&live);
        kept.events.push_back(live);
        while kept.events.len() > MAX_EVENTS || (kept.bytes > MAX_BYTES && kept.events.len() > 1) {
            kept.forget_first();
        }
        drop(kept);
        self.news.notify_waiters();
    }

    /// Follows the events from now on.
    pub(in crate::runtime) fn follow(buffer: &Arc<Self>) -> LiveEvents {
        buffer.readers.fetch_add(1, Ordering::Relaxed);
        let next = buffer.kept().next();
        LiveEvents { buffer: Arc::clone(buffer), next }
    }
}

/// Follows the events of all threads; see `Handle::live`.
#[derive(Debug)]
pub struct LiveEvents {
    buffer: Arc<LiveBuffer>,
    next: u64,
}

impl LiveEvents {
    /// Returns the next event, or the number of events missed since the last one.
    pub async fn next(&mut self) -> Result<LiveEvent, u64> {
        let buffer = Arc::clone(&self.buffer);
        loop {
            let mut news = pin!(buffer.news.notified());
            // Register for the wake-up before looking for an event, so that one in between is not
            // lost.
            news.as_mut().enable();
            if let Some(found) = self.take() {
                return found;
            }
            news.await;
        }
    }

    fn take(&mut self) -> Option<Result<LiveEvent, u64>> {
        let kept = self.buffer.kept();
        if let Some(missed @ 1..) = kept.first.checked_sub(self.next) {
            self.next = kept.first;
            return Some(Err(missed));
        }
        let at = usize::try_from(self.next - kept.first).ok()?;
        let found = kept.events.get(at)?.clone();
        self.next += 1;
        Some(Ok(found))
    }
}

impl Drop for LiveEvents {
    fn drop(&mut self) {
        if self.buffer.readers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Nobody is left to read the kept events.
            let mut kept = self.buffer.kept();
            while !kept.events.is_empty() {
                kept.forget_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::model::{Json, ThreadId, ThreadStatus};
    use crate::runtime::types::RawEvent;

    fn event(seq: u64, bytes: usize) -> LiveEvent {
        let json = Json::string(&"x".repeat(bytes));
        LiveEvent {
            event: RawEvent { seq, kind: "step_complete", json },
            thread_id: ThreadId::parse("t").unwrap(),
            workflow: Arc::from("w"),
            status: ThreadStatus::Running,
        }
    }

    fn seq(found: Option<Result<LiveEvent, u64>>) -> Option<Result<u64, u64>> {
        found.map(|found| found.map(|live| live.event.seq))
    }

    #[test]
    fn a_reader_sees_what_comes_after_it_began_and_in_order() {
        let buffer = Arc::new(LiveBuffer::default());
        assert!(!buffer.has_readers());
        let mut early = LiveBuffer::follow(&buffer);
        buffer.push(event(1, 1));
        let mut late = LiveBuffer::follow(&buffer);
        buffer.push(event(2, 1));
        assert_eq!(seq(early.next().now_or_never()), Some(Ok(1)));
        assert_eq!(seq(early.next().now_or_never()), Some(Ok(2)));
        assert_eq!(seq(late.next().now_or_never()), Some(Ok(2)));
        assert_eq!(seq(late.next().now_or_never()), None);
    }

    #[test]
    fn a_reader_that_lags_by_too_many_bytes_or_events_is_told_how_many_it_missed() {
        let buffer = Arc::new(LiveBuffer::default());
        let mut slow = LiveBuffer::follow(&buffer);
        for seq in 1..=20 {
            buffer.push(event(seq, 1 << 20));
        }
        assert!(buffer.kept().bytes <= MAX_BYTES);
        let missed = slow.next().now_or_never().unwrap().unwrap_err();
        assert_eq!(seq(slow.next().now_or_never()), Some(Ok(missed + 1)));
        for seq in 21..=2_000 {
            buffer.push(event(seq, 1));
        }
        assert_eq!(buffer.kept().events.len(), MAX_EVENTS);
        assert!(slow.next().now_or_never().unwrap().is_err());
        drop(slow);
        assert_eq!(buffer.kept().bytes, 0, "nobody is left to take them");
    }
}
