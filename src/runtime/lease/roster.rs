//! The roster: the tasks that this runtime's workers poll, and since when. It shows the thread in
//! which a worker stands.
//!
//! Every task that may run client text (decisions, conditions, templates, filters, folds of
//! journals) is on the roster, and is at work while it is polled. Time is counted in looks of the
//! watchdog, not read from a clock, so that a stopped process or a sleeping machine counts as one
//! look. A worker without a processor does not stand: the time that it waited for one, or that its
//! process was over its quota, is subtracted.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::account::Account;
use crate::definition::stack::own_number;
use crate::model::{ThreadId, lock};

/// The time between two looks, much shorter than all bounds counted in looks.
pub(in crate::runtime) const LOOK: Duration = Duration::from_millis(100);

/// The purpose of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum Activity {
    /// Rebuilds a claimed thread.
    Load(ThreadId),
    /// Drives a thread, or makes one of its attempts.
    Drive(ThreadId),
    /// Belongs to no thread: a request by its route, or a loop by its name.
    Other(Arc<str>),
}

/// An activity in which a worker stands, or is stuck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) struct Standing {
    pub(in crate::runtime) work: Activity,
    /// How long the worker has stood, minus the time that it was starved.
    pub(in crate::runtime) stood: Duration,
}

/// Every task that is or may be at work.
#[derive(Debug)]
pub(in crate::runtime) struct Roster {
    /// The number of looks so far. It begins at 1, because 0 in `Entry::since` means "not polled".
    looks: AtomicU64,
    numbers: AtomicU64,
    entries: Mutex<HashMap<u64, Arc<Entry>>>,
    /// The activities of which the next task panics.
    #[cfg(test)]
    doomed: Mutex<Vec<Activity>>,
}

#[derive(Debug)]
struct Entry {
    work: Activity,
    /// The look at which the current poll began; 0 while the task is not polled.
    since: AtomicU64,
    /// The kernel's number of the thread that polls it.
    thread: AtomicU32,
    stand: Mutex<Stand>,
    #[cfg(test)]
    sabotage: super::sabotage::Sabotage,
}

/// The length of one poll, measured by the looks since its start.
#[derive(Debug, Default)]
struct Stand {
    /// The look at which the poll began.
    since: u64,
    /// The total time of the looks during the poll.
    looks: Duration,
    /// The part of `looks` for which its worker was starved.
    starved: Duration,
    /// The time on a processor.
    ran: Duration,
    /// The worker's account at the last look.
    last: Option<Account>,
}

impl Stand {
    /// Records a look during the poll that began at `since`; `passed` is the time since the last
    /// look.
    fn look(&mut self, since: u64, account: Option<Account>, passed: Duration) {
        if self.since != since {
            *self = Self { since, ..Self::default() };
        }
        self.looks = self.looks.saturating_add(LOOK);
        if let (Some(last), Some(now)) = (self.last, account) {
            let waited = now.waited.saturating_sub(last.waited);
            let throttled = now.throttled.saturating_sub(last.throttled);
            // A late look counts as one, so its starved time is scaled down to one look. The kernel
            // reports a wait only when it is over, so it may exceed `passed`. It sums a quota's
            // time over all processors, hence `min`.
            let share = LOOK.as_secs_f64() / passed.max(LOOK).as_secs_f64();
            let starved = waited.max(throttled.min(passed)).mul_f64(share);
            self.starved = self.starved.saturating_add(starved);
            self.ran = self.ran.saturating_add(now.ran.saturating_sub(last.ran));
        }
        self.last = account;
    }

    /// Returns how long the worker has stood, but at least its time on a processor. So a worker
    /// that never returns ends even a process that is always starved.
    fn stood(&self) -> Duration {
        self.looks.saturating_sub(self.starved).max(self.ran)
    }
}

impl Entry {
    fn stand(&self) -> MutexGuard<'_, Stand> {
        // Each change leaves it whole.
        lock(&self.stand)
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self {
            looks: AtomicU64::new(1),
            numbers: AtomicU64::default(),
            entries: Mutex::default(),
            #[cfg(test)]
            doomed: Mutex::default(),
        }
    }
}

impl Roster {
    fn entries(&self) -> MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        // A panic under the lock cannot leave the map half changed.
        lock(&self.entries)
    }

    /// Wraps a future so that it is on the roster for as long as it lives.
    pub(in crate::runtime) fn watch<F: Future>(
        self: &Arc<Self>,
        work: Activity,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        let place = self.enter(work);
        let mut future: Pin<Box<F>> = Box::pin(future);
        poll_fn(move |context| {
            let _turn = place.turn();
            #[cfg(test)]
            place.entry.sabotage.polled(context);
            future.as_mut().poll(context)
        })
    }

    fn enter(self: &Arc<Self>, work: Activity) -> Place {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry {
            work,
            since: AtomicU64::default(),
            thread: AtomicU32::default(),
            stand: Mutex::default(),
            #[cfg(test)]
            sabotage: super::sabotage::Sabotage::default(),
        });
        #[cfg(test)]
        if let Some(_doomed) = lock(&self.doomed).pop_if(|work| *work == entry.work) {
            entry.sabotage.tell();
        }
        self.entries().insert(number, Arc::clone(&entry));
        Place { roster: Arc::clone(self), number, entry }
    }

    /// Returns the activities of all tasks.
    #[cfg(test)]
    pub(in crate::runtime) fn activities(&self) -> Vec<Activity> {
        self.entries().values().map(|entry| entry.work.clone()).collect()
    }

    /// Makes the tasks with an activity panic at once, or the next one if there is none.
    #[cfg(test)]
    pub(in crate::runtime) fn sabotage(&self, work: Activity) {
        let entries = self.entries();
        let tasks: Vec<_> = entries.values().filter(|entry| entry.work == work).collect();
        for task in &tasks {
            task.sabotage.tell();
        }
        if tasks.is_empty() {
            lock(&self.doomed).push(work);
        }
    }

    /// Makes one look, `passed` after the last one. `accounts` reads the account of a thread by its
    /// number.
    pub(in crate::runtime) fn look(
        &self,
        passed: Duration,
        accounts: impl Fn(u32) -> Option<Account>,
    ) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        for (since, entry) in self.at_work() {
            let account = accounts(entry.thread.load(Ordering::Relaxed));
            entry.stand().look(since, account, passed);
        }
    }

    /// Returns the activities that have stood for at least `least`, longest first.
    pub(in crate::runtime) fn standing(&self, least: Duration) -> Vec<Standing> {
        let stands = self.at_work().into_iter().filter_map(|(since, entry)| {
            let stand = entry.stand();
            let stood = stand.stood();
            (stand.since == since && stood >= least)
                .then(|| Standing { work: entry.work.clone(), stood })
        });
        let mut standing: Vec<Standing> = stands.collect();
        standing.sort_by_key(|one| std::cmp::Reverse(one.stood));
        standing
    }

    /// Returns the tasks that are polled now, each with the look at which its poll began.
    fn at_work(&self) -> Vec<(u64, Arc<Entry>)> {
        let entries = self.entries();
        let polled = entries.values().filter_map(|entry| {
            let since = entry.since.load(Ordering::Acquire);
            (since > 0).then(|| (since, Arc::clone(entry)))
        });
        polled.collect()
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
        self.entry.thread.store(own_number(), Ordering::Relaxed);
        // Release: a reader that sees the poll sees the polling thread as well.
        self.entry.since.store(now, Ordering::Release);
        Turn(&self.entry.since)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.roster.entries().remove(&self.number);
    }
}

/// Marks a task as at work until it is dropped.
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

    fn other(name: &str) -> Activity {
        Activity::Other(Arc::from(name))
    }

    #[test]
    fn only_what_is_polled_without_a_pause_stands() {
        let roster = Arc::new(Roster::default());
        let waits = std::pin::pin!(roster.watch(other("waits"), std::future::pending::<()>()));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(waits.poll(&mut context), Poll::Pending);
        let inner = Arc::clone(&roster);
        let stands = roster.watch(other("stands"), async move {
            (0..9).for_each(|_| inner.look(LOOK, |_| None));
            assert_eq!(inner.standing(10 * LOOK), []);
            inner.look(LOOK, |_| None);
            inner.standing(10 * LOOK)
        });
        let mut stands = std::pin::pin!(stands);
        let Poll::Ready(found) = stands.as_mut().poll(&mut context) else { panic!("it waits") };
        assert_eq!(found, [Standing { work: other("stands"), stood: 10 * LOOK }]);
        assert_eq!(roster.standing(Duration::ZERO), [], "it came back");
    }

    /// Returns how many milliseconds a worker has stood after `looks` looks, `passed` ms apart.
    /// Between two looks it ran, waited and was throttled for `spent` ms, in this order.
    fn stood(looks: u32, passed: u64, spent: [u64; 3]) -> u128 {
        let mut stand = Stand::default();
        for number in 0..looks {
            let [ran, waited, throttled] = spent.map(|spent| Duration::from_millis(spent) * number);
            let account = Some(Account { ran, waited, throttled });
            stand.look(1, account, Duration::from_millis(passed));
        }
        stand.stood().as_millis()
    }

    #[test]
    fn a_worker_that_was_starved_does_not_stand_and_one_that_blocks_does() {
        // It works all the time, or waits for something other than a processor.
        assert_eq!(stood(101, 100, [100, 0, 0]), 10_100);
        assert_eq!(stood(101, 100, [0, 0, 0]), 10_100);
        // A loaded machine; then a quota on many processors, counted by the kernel as a wait or
        // not.
        assert_eq!(stood(101, 100, [6, 94, 0]), 700);
        assert_eq!(stood(101, 100, [6, 0, 94]), 700);
        assert_eq!(stood(101, 100, [6, 94, 94]), 700);
        assert_eq!(stood(101, 100, [6, 0, 1_000]), 600);
        assert_eq!(stood(101, 100, [70, 30, 0]), 7_100);
        // The watchdog was starved as well: each of its late looks counts once.
        assert_eq!(stood(101, 1_000, [60, 940, 0]), 6_000);
        assert_eq!(stood(11, 1_000, [0, 940, 0]), 160);
        // The process was stopped, or the machine slept.
        assert_eq!(stood(3, 3_600_000, [0, 0, 0]), 300);
    }

    #[test]
    fn a_worker_that_never_comes_back_ends_a_process_that_is_always_starved() {
        assert_eq!(stood(1_001, 100, [10, 90, 0]), 10_100);
        assert_eq!(stood(501, 100, [20, 0, 1_600]), 10_000);
    }

    #[test]
    fn a_wait_that_is_told_once_it_is_over_is_taken_off_then() {
        let mut stand = Stand::default();
        let mut look = |ran, waited| {
            let [ran, waited] = [ran, waited].map(Duration::from_millis);
            stand.look(1, Some(Account { ran, waited, ..Account::default() }), LOOK);
            stand.stood().as_millis()
        };
        assert_eq!([look(0, 0), look(0, 0), look(0, 0), look(0, 0)], [100, 200, 300, 400]);
        assert_eq!(look(20, 380), 120);
    }

    #[test]
    fn a_helper_that_comes_and_goes_neither_adds_nor_hides_a_wait() {
        let mut stand = Stand::default();
        let mut look = |ran, waited| {
            let [ran, waited] = [ran, waited].map(Duration::from_millis);
            stand.look(1, Some(Account { ran, waited, ..Account::default() }), LOOK);
            stand.stood().as_millis()
        };
        // A long-running worker has a helper thread, which is starved.
        assert_eq!([look(90_000, 9_000), look(90_003, 9_005)], [100, 195]);
        assert_eq!([look(90_006, 9_102), look(90_009, 9_199)], [198, 201]);
        // That helper ends, and another begins.
        assert_eq!([look(90_000, 9_000), look(90_001, 9_004)], [301, 397]);
        assert_eq!(look(90_005, 9_100), 401);
    }

    #[test]
    fn the_next_poll_begins_anew_and_has_the_account_of_its_own_worker() {
        let mut stand = Stand::default();
        let busy = |ran| Some(Account { ran: Duration::from_secs(ran), ..Account::default() });
        stand.look(1, busy(1), LOOK);
        stand.look(1, busy(2), LOOK);
        assert_eq!(stand.stood(), Duration::from_secs(1));
        stand.look(3, busy(900), LOOK);
        assert_eq!(stand.stood(), LOOK);
        // An unreadable account subtracts nothing.
        stand.look(3, None, LOOK);
        stand.look(3, busy(1_000), LOOK);
        assert_eq!(stand.stood(), 3 * LOOK);
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
