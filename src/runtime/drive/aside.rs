//! A place for work that what clients wrote can make long: beside the workers of the async runtime, a
//! few pieces at a time.
//!
//! Each piece ends by itself, by its budget (`definition`). While it goes on its worker's other tasks are
//! somebody else's; whoever wants one more waits, without taking a thread. On a runtime of one thread,
//! as simulations have, it is done in place.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;

/// Pieces of work done at once: those beyond would only take each other's time.
const AT_ONCE: usize = 2;
/// Requests that may wait for a place; the next one is refused.
const MAX_WAITING: usize = 64;

/// See the module.
#[derive(Debug)]
pub(in crate::runtime) struct Aside {
    places: Semaphore,
    waiting: AtomicUsize,
}

/// Too many wait already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) struct Crowded;

impl Default for Aside {
    fn default() -> Self {
        Self { places: Semaphore::new(AT_ONCE), waiting: AtomicUsize::new(0) }
    }
}

impl Aside {
    /// Does the work once there is a place for it.
    pub(in crate::runtime) async fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        // Never closed: there is always a place to wait for.
        let _place = self.places.acquire().await;
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(work)
        } else {
            work()
        }
    }

    /// The same for a request, which can be made again later.
    pub(in crate::runtime) async fn try_run<T>(
        &self,
        work: impl FnOnce() -> T,
    ) -> Result<T, Crowded> {
        struct Waits<'a>(&'a AtomicUsize);
        impl Drop for Waits<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&self.waiting);
        if before >= MAX_WAITING {
            return Err(Crowded);
        }
        let done = self.run(work).await;
        drop(waits);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_go_on_while_work_takes_long_and_the_crowd_is_sent_away() {
        let aside = Arc::new(Aside::default());
        let (ends, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(std::sync::Mutex::new(ended));
        let tasks = tokio_util::task::TaskTracker::new();
        for _ in 0..AT_ONCE + MAX_WAITING {
            let (aside, ended) = (Arc::clone(&aside), Arc::clone(&ended));
            tasks.spawn(async move { aside.try_run(|| ended.lock().unwrap().recv()).await });
        }
        // The only worker is free for this all the time.
        while aside.waiting.load(Ordering::Relaxed) < MAX_WAITING {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(aside.try_run(|| ()).await, Err(Crowded));
        drop(ends);
        tasks.close();
        tasks.wait().await;
        assert_eq!(aside.try_run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_work_is_done_in_place() {
        let here = std::thread::current().id();
        let done = Aside::default().run(|| std::thread::current().id()).await;
        assert_eq!(done, here);
    }
}
