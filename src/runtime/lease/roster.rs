//! Who is at work on this runtime's workers, and since when: what shows in which thread a worker
//! stands.
//!
//! Every task that may run what a client wrote is on the roster, and is at work while it is polled:
//! decisions, conditions, templates, filters, folds of journals. Time is counted in looks of the
//! watchdog and not read from a clock, so that a process that was stopped as a whole, or a machine that
//! slept, has stood for one look and no more.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::ThreadId;

/// What a task is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum Work {
    /// To rebuild a claimed thread.
    Load(ThreadId),
    /// To drive a thread, or to make an attempt of it.
    Drive(ThreadId),
    /// Something that no thread has begun: a request by its route, or a loop by its name.
    Other(Arc<str>),
}

/// Work that a worker does not come back from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) struct Standing {
    pub(in crate::runtime) work: Work,
    /// For so many looks.
    pub(in crate::runtime) looks: u64,
}

/// Everything that is or may be at work.
#[derive(Debug)]
pub(in crate::runtime) struct Roster {
    /// Looks so far; never 0, which is nobody's beginning.
    looks: AtomicU64,
    numbers: AtomicU64,
    entries: Mutex<HashMap<u64, Arc<Entry>>>,
}

#[derive(Debug)]
struct Entry {
    work: Work,
    /// The look at which it was last polled; 0 while it is not.
    since: AtomicU64,
}

impl Default for Roster {
    fn default() -> Self {
        Self { looks: AtomicU64::new(1), numbers: AtomicU64::default(), entries: Mutex::default() }
    }
}

impl Roster {
    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        // A panic while it was held cannot leave a map of entries half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same future, on the roster for as long as it lives.
    pub(in crate::runtime) fn watch<F: Future>(
        self: &Arc<Self>,
        work: Work,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let place = self.enter(work);
        let mut future: Pin<Box<F>> = Box::pin(future);
        poll_fn(move |context| {
            let _turn = place.turn();
            future.as_mut().poll(context)
        })
    }

    fn enter(self: &Arc<Self>, work: Work) -> Place {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry { work, since: AtomicU64::default() });
        self.entries().insert(number, Arc::clone(&entry));
        Place { roster: Arc::clone(self), number, entry }
    }

    /// The watchdog has looked once more.
    pub(in crate::runtime) fn look(&self) {
        self.looks.fetch_add(1, Ordering::Relaxed);
    }

    /// What has been at work for at least so many looks without a pause, longest first.
    pub(in crate::runtime) fn standing(&self, least: u64) -> Vec<Standing> {
        let now = self.looks.load(Ordering::Relaxed);
        let entries = self.entries();
        let stands = entries.values().filter_map(|entry| {
            let since = entry.since.load(Ordering::Relaxed);
            let looks = now.saturating_sub(since);
            (since > 0 && looks >= least).then(|| Standing { work: entry.work.clone(), looks })
        });
        let mut standing: Vec<Standing> = stands.collect();
        standing.sort_by_key(|one| std::cmp::Reverse(one.looks));
        standing
    }
}

/// A task's place on the roster.
#[derive(Debug)]
struct Place {
    roster: Arc<Roster>,
    number: u64,
    entry: Arc<Entry>,
}

impl Place {
    fn turn(&self) -> Turn<'_> {
        let now = self.roster.looks.load(Ordering::Relaxed);
        self.entry.since.store(now, Ordering::Relaxed);
        Turn(&self.entry.since)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.entries().remove(&self.number);
    }
}

/// A task is at work until this is dropped.
struct Turn<'a>(&'a AtomicU64);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn other(name: &str) -> Work {
        Work::Other(Arc::from(name))
    }

    #[test]
    fn only_what_is_polled_without_a_pause_stands() {
        let roster = Arc::new(Roster::default());
        let waits = std::pin::pin!(roster.watch(other("waits"), std::future::pending::<()>()));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waits.poll(&mut context), Poll::Pending);
        let inner = Arc::clone(&roster);
        let stands = roster.watch(other("stands"), async move {
            (0..9).for_each(|_| inner.look());
            assert_eq!(inner.standing(10), []);
            inner.look();
            inner.standing(10)
        });
        let mut stands = std::pin::pin!(stands);
        let Poll::Ready(found) = stands.as_mut().poll(&mut context) else { panic!("it waits") };
        assert_eq!(found, [Standing { work: other("stands"), looks: 10 }]);
        assert_eq!(roster.standing(0), [], "it came back");
    }

    #[test]
    fn what_is_dropped_or_panics_leaves_nothing_behind() {
        let roster = Arc::new(Roster::default());
        drop(roster.watch(other("dropped"), std::future::pending::<()>()));
        let broken = std::panic::AssertUnwindSafe(|| {
            let work = std::pin::pin!(roster.watch(other("broken"), async { panic!("broken") }));
            let _never: Poll<()> = work.poll(&mut Context::from_waker(Waker::noop()));
        });
        assert!(std::panic::catch_unwind(broken).is_err());
        assert!(roster.entries().is_empty());
    }
}
