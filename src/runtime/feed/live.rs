//! The newest events that this replica wrote, for readers that follow them live.
//!
//! Each namespace with readers has a buffer of its own: an event wakes the readers of its namespace
//! alone, and what one namespace writes never takes the place of what another's readers have yet to
//! take. A buffer is bounded in events and in bytes: a reader that lags further misses some, and is
//! told how many.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::model::{Namespace, ThreadId, lock};
use crate::runtime::types::LiveEvent;

/// The most events kept, which is how far a reader may lag.
const MAX_EVENTS: usize = 1_024;
/// The most bytes kept; one larger event is kept alone.
const MAX_BYTES: usize = 8 << 20;

/// How much later a reader looks again for each reader of its namespace: all of them together look
/// at most 10,000 times a second, however many they are, and ten of them wait a millisecond.
const PACE_PER_READER: Duration = Duration::from_micros(100);
/// The longest time between two looks of a reader that has news. A buffer holds what is written
/// meanwhile on any machine that such a crowd leaves time to write.
const MAX_PACE: Duration = Duration::from_millis(500);

/// The buffers of the namespaces that have readers.
#[derive(Debug, Default)]
pub(in crate::runtime) struct LiveBuffers {
    buffers: Mutex<BTreeMap<Namespace, Arc<LiveBuffer>>>,
    /// How many readers there are, so that a write without any takes no lock.
    readers: AtomicUsize,
}

/// The kept events of one namespace, and the number of its readers, which changes under the lock of
/// the map of buffers alone.
#[derive(Debug, Default)]
struct LiveBuffer {
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

impl LiveBuffers {
    fn buffers(&self) -> MutexGuard<'_, BTreeMap<Namespace, Arc<LiveBuffer>>> {
        // A panic under the lock cannot leave a map of buffers half changed.
        lock(&self.buffers)
    }

    /// Returns where the events of a thread go, if anybody follows them.
    pub(in crate::runtime) fn of(&self, thread: &ThreadId) -> Option<LiveInlet> {
        if self.readers.load(Ordering::Relaxed) == 0 {
            return None;
        }
        self.buffers().get(&thread.namespace()).cloned().map(LiveInlet)
    }

    /// Follows the events of a namespace from now on.
    pub(in crate::runtime) fn follow(this: &Arc<Self>, namespace: &Namespace) -> LiveEvents {
        let mut buffers = this.buffers();
        let buffer = Arc::clone(buffers.entry(namespace.clone()).or_default());
        buffer.readers.fetch_add(1, Ordering::Relaxed);
        this.readers.fetch_add(1, Ordering::Relaxed);
        drop(buffers);
        let next = buffer.kept().next();
        LiveEvents {
            buffers: Arc::clone(this),
            namespace: namespace.clone(),
            buffer,
            next,
            looks_again: Instant::now(),
        }
    }

    fn leave(&self, namespace: &Namespace) {
        let mut buffers = self.buffers();
        self.readers.fetch_sub(1, Ordering::Relaxed);
        let Some(buffer) = buffers.get(namespace) else { return };
        if buffer.readers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Nobody is left to read the kept events.
            buffers.remove(namespace);
        }
    }
}

/// Takes the events of a namespace with readers.
pub(in crate::runtime) struct LiveInlet(Arc<LiveBuffer>);

impl LiveInlet {
    /// Shows an event to all readers of the namespace.
    pub(in crate::runtime) fn push(&self, live: LiveEvent) {
        let mut kept = self.0.kept();
        kept.bytes += size(&live);
        kept.events.push_back(live);
        while kept.events.len() > MAX_EVENTS || (kept.bytes > MAX_BYTES && kept.events.len() > 1) {
            kept.forget_first();
        }
        drop(kept);
        self.0.news.notify_waiters();
    }
}

impl LiveBuffer {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A panic under the lock leaves at worst one event whose bytes are counted twice.
        lock(&self.kept)
    }

    fn pace(&self) -> Duration {
        let readers = u32::try_from(self.readers.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        PACE_PER_READER.saturating_mul(readers).min(MAX_PACE)
    }
}

/// Follows the events of a namespace's threads; see `Handle::live`.
#[derive(Debug)]
pub struct LiveEvents {
    buffers: Arc<LiveBuffers>,
    namespace: Namespace,
    buffer: Arc<LiveBuffer>,
    next: u64,
    /// When this reader may look again after it found nothing.
    looks_again: Instant,
}

impl LiveEvents {
    /// Returns the next event, or the number of events missed since the last one. Cancel-safe.
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
            // Events that come in the meantime are taken together.
            sleep_until(self.looks_again).await;
            self.looks_again = Instant::now() + buffer.pace();
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
        self.buffers.leave(&self.namespace);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::{Context, Wake, Waker};

    use futures_util::FutureExt;

    use super::*;
    use crate::model::{Json, ThreadStatus};
    use crate::runtime::types::RawEvent;

    fn event_of(thread: &str, seq: u64, bytes: usize) -> LiveEvent {
        let json = Json::string(&"x".repeat(bytes));
        LiveEvent {
            event: RawEvent { seq, kind: "step_complete", json },
            thread_id: ThreadId::parse(thread).unwrap(),
            workflow: Arc::from("w"),
            status: ThreadStatus::Running,
        }
    }

    fn push(buffers: &LiveBuffers, live: LiveEvent) {
        if let Some(inlet) = buffers.of(&live.thread_id) {
            inlet.push(live);
        }
    }

    fn seq(found: Option<Result<LiveEvent, u64>>) -> Option<Result<u64, u64>> {
        found.map(|found| found.map(|live| live.event.seq))
    }

    /// Notes that it was woken.
    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// What a reader has at once, without waiting.
    fn at_once(reader: &mut LiveEvents) -> Option<Result<u64, u64>> {
        seq(reader.next().now_or_never())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_sees_what_comes_after_it_began_and_in_order() {
        let buffers = Arc::new(LiveBuffers::default());
        push(&buffers, event_of("t", 0, 1));
        let mut early = LiveBuffers::follow(&buffers, &Namespace::default());
        push(&buffers, event_of("t", 1, 1));
        let mut late = LiveBuffers::follow(&buffers, &Namespace::default());
        push(&buffers, event_of("t", 2, 1));
        assert_eq!(at_once(&mut early), Some(Ok(1)));
        assert_eq!(at_once(&mut early), Some(Ok(2)));
        assert_eq!(at_once(&mut late), Some(Ok(2)));
        assert_eq!(at_once(&mut late), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_lags_by_too_many_bytes_or_events_is_told_how_many_it_missed() {
        let buffers = Arc::new(LiveBuffers::default());
        let mut slow = LiveBuffers::follow(&buffers, &Namespace::default());
        for seq in 1..=20 {
            push(&buffers, event_of("t", seq, 1 << 20));
        }
        assert!(slow.buffer.kept().bytes <= MAX_BYTES);
        let missed = at_once(&mut slow).unwrap().unwrap_err();
        assert_eq!(at_once(&mut slow), Some(Ok(missed + 1)));
        for seq in 21..=2_000 {
            push(&buffers, event_of("t", seq, 1));
        }
        assert_eq!(slow.buffer.kept().events.len(), MAX_EVENTS);
        assert!(at_once(&mut slow).unwrap().is_err());
        drop(slow);
        assert!(buffers.buffers().is_empty(), "nobody is left to take them");
    }

    #[tokio::test(start_paused = true)]
    async fn events_of_one_namespace_neither_wake_nor_displace_those_of_another() {
        let buffers = Arc::new(LiveBuffers::default());
        let team = Namespace::parse("team").unwrap();
        let mut theirs = LiveBuffers::follow(&buffers, &team);
        let mut ours = LiveBuffers::follow(&buffers, &Namespace::default());
        push(&buffers, event_of("t", 1, 1));
        let woken = Arc::new(Woken::default());
        {
            let waker = Waker::from(Arc::clone(&woken));
            let mut next = pin!(theirs.next());
            assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            for seq in 1..=2_000 {
                push(&buffers, event_of("t", seq, 1));
            }
        }
        assert!(!woken.0.load(Ordering::Relaxed));
        assert!(at_once(&mut ours).unwrap().is_err(), "it lagged");
        let live =
            LiveEvent { thread_id: ThreadId::within(&team, "t").unwrap(), ..event_of("t", 7, 1) };
        push(&buffers, live);
        assert_eq!(at_once(&mut theirs), Some(Ok(7)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_readers_takes_events_together_and_one_reader_at_once() {
        let buffers = Arc::new(LiveBuffers::default());
        let mut crowd: Vec<_> =
            (0..100).map(|_| LiveBuffers::follow(&buffers, &Namespace::default())).collect();
        let reader = crowd.last_mut().unwrap();
        for (seq, pause) in [(1, 0), (2, 10)] {
            let began = Instant::now();
            let (found, ()) = tokio::join!(reader.next(), async {
                tokio::task::yield_now().await;
                push(&buffers, event_of("t", seq, 1));
            });
            assert_eq!(found.unwrap().event.seq, seq);
            assert_eq!(began.elapsed(), Duration::from_millis(pause));
        }
    }
}
