//! A place for work that what clients wrote can make long: beside the workers of the async runtime, a
//! few pieces at a time.
//!
//! Each piece ends by itself, by its budget (`definition`). While it goes on its worker's other tasks are
//! somebody else's; whoever wants one more waits, without taking a thread. What is done for a request is
//! done for its namespace, and no namespace holds all places, neither of those at work nor of those that
//! wait. On a runtime of one thread, as simulations have, it is done in place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::model::{Namespace, lock};

/// Pieces of work done at once: those beyond would only take each other's time.
const AT_ONCE: usize = 3;
/// Of those, how many for one namespace: one place is always for somebody else.
const OF_ONE: usize = 2;
/// Requests that may wait for a place; the next one is refused.
const MAX_WAITING: usize = 64;
/// Of those, how many of one namespace.
const WAITING_OF_ONE: usize = MAX_WAITING / 2;

/// See the module.
#[derive(Debug)]
pub(in crate::runtime) struct Aside {
    places: Semaphore,
    waiting: AtomicUsize,
    /// The namespaces that something is done for, or waits.
    namespaces: Mutex<HashMap<Namespace, Arc<Share>>>,
}

/// What one namespace has of the places.
#[derive(Debug)]
struct Share {
    places: Semaphore,
    waiting: AtomicUsize,
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Crowded;

/// One that waits among others.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn among(others: &'a AtomicUsize, most: usize) -> Result<Self, Crowded> {
        let before = others.fetch_add(1, Ordering::Relaxed);
        let waits = Self(others);
        if before >= most { Err(Crowded) } else { Ok(waits) }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Aside {
    fn default() -> Self {
        let places = Semaphore::new(AT_ONCE);
        Self { places, waiting: AtomicUsize::new(0), namespaces: Mutex::default() }
    }
}

impl Aside {
    /// Does the work once there is a place for it.
    async fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        // Never closed: there is always a place to wait for.
        let _place = self.places.acquire().await;
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(work)
        } else {
            work()
        }
    }

    /// Does the work once there is a place for it, of those that its namespace may take.
    pub(in crate::runtime) async fn run_for<T>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce() -> T,
    ) -> T {
        let share = self.share(namespace);
        let _place = share.places.acquire().await;
        self.run(work).await
    }

    /// The same for a request, which can be made again later.
    pub(in crate::runtime) async fn try_run<T>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce() -> T,
    ) -> Result<T, Crowded> {
        let share = self.share(namespace);
        let _of_one = Waits::among(&share.waiting, WAITING_OF_ONE)?;
        let _of_all = Waits::among(&self.waiting, MAX_WAITING)?;
        Ok(self.run_for(namespace, work).await)
    }

    fn share(&self, namespace: &Namespace) -> Arc<Share> {
        // Each change leaves a map of shares.
        let mut shares = lock(&self.namespaces);
        // Those that nobody else has are of namespaces that are done.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let new = || {
            let places = Semaphore::new(OF_ONE);
            Arc::new(Share { places, waiting: AtomicUsize::new(0) })
        };
        Arc::clone(shares.entry(namespace.clone()).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    /// Starts so many pieces of work of a namespace that end when the sender is dropped.
    fn crowd(
        aside: &Arc<Aside>,
        name: &str,
        pieces: usize,
    ) -> (std::sync::mpsc::Sender<()>, tokio_util::task::TaskTracker) {
        let (ends, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let tasks = tokio_util::task::TaskTracker::new();
        for _ in 0..pieces {
            let (aside, ended, name) = (Arc::clone(aside), Arc::clone(&ended), named(name));
            tasks.spawn(async move { aside.try_run(&name, || ended.lock().unwrap().recv()).await });
        }
        (ends, tasks)
    }

    async fn until_waiting(aside: &Aside, requests: usize) {
        while aside.waiting.load(Ordering::Relaxed) < requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_work_takes_long_and_the_crowd_is_sent_away() {
        let aside = Arc::new(Aside::default());
        let (ends, tasks) = crowd(&aside, "one", WAITING_OF_ONE);
        let (more_ends, more) = crowd(&aside, "two", WAITING_OF_ONE);
        // The only worker is free for this all the time.
        until_waiting(&aside, MAX_WAITING).await;
        assert_eq!(aside.try_run(&named("three"), || ()).await, Err(Crowded));
        drop((ends, more_ends));
        for tasks in [tasks, more] {
            tasks.close();
            tasks.wait().await;
        }
        assert_eq!(aside.try_run(&named("three"), || 7).await, Ok(7));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_crowd_of_one_namespace_takes_no_place_of_another() {
        let aside = Arc::new(Aside::default());
        let (ends, tasks) = crowd(&aside, "one", WAITING_OF_ONE);
        until_waiting(&aside, WAITING_OF_ONE).await;
        assert_eq!(aside.try_run(&named("one"), || ()).await, Err(Crowded));
        assert_eq!(aside.try_run(&named("two"), || 7).await, Ok(7), "at once, beside the crowd");
        assert_eq!(aside.run(|| 8).await, 8);
        drop(ends);
        tasks.close();
        tasks.wait().await;
        drop(aside.share(&named("two")));
        drop(aside.share(&named("three")));
        assert_eq!(aside.namespaces.lock().unwrap().len(), 1, "those that are done are forgotten");
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_work_is_done_in_place() {
        let here = std::thread::current().id();
        let done = Aside::default().run(|| std::thread::current().id()).await;
        assert_eq!(done, here);
    }
}
