//! Places for work that client text can make long: a few pieces at a time, apart from other tasks.
//!
//! Each piece ends by its budget (`definition`). Meanwhile its worker's other tasks move to another
//! thread, and pieces that wait for a place take no thread. Work counts for its namespace: no
//! namespace can hold all places, and the requests of none can fill the queue. On a runtime of one
//! thread, as simulations have, the work is done in place.

use tokio::runtime::{Handle, RuntimeFlavor};

use crate::definition::stack::{NoThread, on_large_stack};
use crate::executor::Places;
use crate::model::Namespace;

/// The pieces of work done at once: more would only share the same processors.
const AT_ONCE: usize = 3;
/// The number of requests that may be at work or wait for a place; the next one is refused.
const MAX_REQUESTS: usize = 64;
/// The number of those requests that may be of one namespace.
const REQUESTS_OF_ONE: usize = MAX_REQUESTS / 2;

/// The places for long work; see the module.
#[derive(Debug)]
pub(in crate::runtime) struct Aside {
    places: Places,
    requests: Places,
}

/// The reason why the work of a request was not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::runtime) enum Refused {
    /// Too many requests wait already.
    Crowded,
    /// There is no thread for it.
    NoThread(NoThread),
}

impl Default for Aside {
    fn default() -> Self {
        Self {
            places: Places::new(AT_ONCE),
            requests: Places::shared(MAX_REQUESTS, REQUESTS_OF_ONE),
        }
    }
}

impl Aside {
    /// Does the work once there is a place for it within the share of its namespace.
    pub(in crate::runtime) async fn run_for<T>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce() -> T,
    ) -> T {
        // The places are never closed, so there is always one to wait for.
        let place = self.places.take(namespace).await;
        if Handle::current().runtime_flavor() != RuntimeFlavor::MultiThread {
            return work();
        }
        let done = tokio::task::block_in_place(work);
        drop(place);
        // Others go first. The watchdog measures this piece apart from the caller's next ones.
        tokio::task::yield_now().await;
        done
    }

    /// Does the work of a request on a thread with a large stack, unless too many wait already or there
    /// is no such thread: the request can be made again later.
    pub(in crate::runtime) async fn try_run<T: Send>(
        &self,
        namespace: &Namespace,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Refused> {
        let _request = self.requests.try_take(namespace).ok_or(Refused::Crowded)?;
        self.run_for(namespace, || on_large_stack(work)).await.map_err(Refused::NoThread)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    /// Starts `pieces` pieces of work of a namespace, which end when the returned sender is
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
        while MAX_REQUESTS - aside.requests.free() < requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_work_takes_long_and_the_crowd_is_sent_away() {
        let aside = Arc::new(Aside::default());
        let (ends, tasks) = crowd(&aside, "one", REQUESTS_OF_ONE);
        let (more_ends, more) = crowd(&aside, "two", REQUESTS_OF_ONE);
        // The only worker is free to poll this all the time.
        until_waiting(&aside, MAX_REQUESTS).await;
        assert_eq!(aside.try_run(&named("three"), || ()).await, Err(Refused::Crowded));
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
        let (ends, tasks) = crowd(&aside, "one", REQUESTS_OF_ONE);
        until_waiting(&aside, REQUESTS_OF_ONE).await;
        assert_eq!(aside.try_run(&named("one"), || ()).await, Err(Refused::Crowded));
        assert_eq!(aside.try_run(&named("two"), || 7).await, Ok(7), "at once, beside the crowd");
        assert_eq!(aside.run_for(&named("two"), || 8).await, 8);
        drop(ends);
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn each_piece_of_work_is_a_piece_for_the_watchdog() {
        let (aside, one) = (Aside::default(), named("one"));
        let mut pieces = std::pin::pin!(async {
            for _ in 0..3 {
                aside.run_for(&one, || ()).await;
            }
        });
        let mut polls = 0;
        let counted = std::future::poll_fn(|context| {
            polls += 1;
            pieces.as_mut().poll(context)
        });
        counted.await;
        assert_eq!(polls, 4);
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_work_is_done_in_place() {
        let here = std::thread::current().id();
        let done = Aside::default().run_for(&named("one"), || std::thread::current().id()).await;
        assert_eq!(done, here);
    }
}
