//! A place for work that client text can make long: beside the workers of the async runtime, a few
//! pieces at a time.
//!
//! Each piece ends by itself, by its budget (`definition`). Meanwhile its worker's other tasks move
//! to another thread, and those that want a place wait without taking a thread. Work for a request
//! counts for its namespace, and no namespace can hold all places, neither of those at work nor of
//! those that wait. On a runtime of one thread, as simulations have, the work is done in place.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

use crate::model::{Namespace, lock};

/// The pieces of work done at once: more would only take processor time from each other.
const AT_ONCE: usize = 3;
/// The pieces done at once for one namespace, so that none holds all places.
const OF_ONE: usize = 2;
/// The number of requests that may wait for a place; the next one is refused.
const MAX_WAITING: usize = 64;
/// The number of waiting requests of one namespace.
const WAITING_OF_ONE: usize = MAX_WAITING / 2;

/// The places for long work; see the module.
#[derive(Debug)]
pub(in crate::runtime) struct Aside {
    places: Semaphore,
    waiting: AtomicUsize,
    /// The namespaces that have a piece of work under way or waiting.
    namespaces: Mutex<HashMap<Namespace, Arc<Share>>>,
}

/// The share of the places that one namespace has.
#[derive(Debug)]
struct Share {
    places: Semaphore,
    waiting: AtomicUsize,
}

/// A refusal: too many requests wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Crowded;

/// Counts as one waiting request until it is dropped.
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
        // The semaphore is never closed, so there is always a place to wait for.
        let _place = self.places.acquire().await;
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(work)
        } else {
            work()
        }
    }

    /// Does the work once there is a place for it within the share of its namespace.
    pub(in crate::runtime) async fn run_for<T>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce() -> T,
    ) -> T {
        let share = self.share(namespace);
        let _place = share.places.acquire().await;
        self.run(work).await
    }

    /// Does the work of a request, unless too many wait already: the request can be made again
    /// later.
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
        // Each change leaves a valid map of shares.
        let mut shares = lock(&self.namespaces);
        // A share that nobody else holds belongs to a namespace without work.
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

    /// Starts that many pieces of work of a namespace, which end when the returned sender is
    /// dropped.
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
        // The only worker is free to poll this all the time.
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
