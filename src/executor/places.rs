//! Places for work that is bounded in number. No namespace holds all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::model::{Namespace, lock};

/// A limited number of places, shared among namespaces.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    /// The largest number of places that one namespace may have.
    of_one: usize,
    /// The shares of the namespaces that have a place, or wait for one.
    shares: Mutex<HashMap<Namespace, Arc<Share>>>,
}

/// The share of one namespace.
#[derive(Debug)]
struct Share {
    places: Arc<Semaphore>,
    /// The bytes that those who have a place have said to take.
    bytes: AtomicUsize,
}

/// A place; it becomes free when this is dropped.
#[derive(Debug)]
pub struct Place {
    share: Arc<Share>,
    bytes: usize,
    _of_one: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Place {
    /// Says that whoever has the place takes so many more bytes.
    pub fn weigh(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.share.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that were said of this place.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the bytes that were said of all places of its namespace.
    pub fn bytes_of_namespace(&self) -> usize {
        self.share.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.share.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Places {
    /// Makes so many places. One namespace gets at most seven eighths of them, and all but one, or
    /// the only one.
    pub fn new(places: usize) -> Self {
        Self::shared(places, places.saturating_sub((places / 8).max(1)).max(1))
    }

    /// Makes so many places, of which one namespace gets at most `of_one`.
    pub fn shared(places: usize, of_one: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(places)), of_one, shares: Mutex::default() }
    }

    /// Waits for a place. If there is only one place, the namespaces take turns.
    pub async fn take(&self, namespace: &Namespace) -> Result<Place, AcquireError> {
        let share = self.share(namespace);
        let of_one = Arc::clone(&share.places).acquire_owned().await?;
        let of_all = Arc::clone(&self.all).acquire_owned().await?;
        Ok(Place { share, bytes: 0, _of_one: of_one, _of_all: of_all })
    }

    /// Waits for a place for so long at the most.
    pub async fn take_within(&self, namespace: &Namespace, patience: Duration) -> Option<Place> {
        // The places are never closed.
        tokio::time::timeout(patience, self.take(namespace)).await.ok()?.ok()
    }

    /// Takes a place if there is one for this namespace now.
    pub fn try_take(&self, namespace: &Namespace) -> Option<Place> {
        let share = self.share(namespace);
        let of_one = Arc::clone(&share.places).try_acquire_owned().ok()?;
        let of_all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { share, bytes: 0, _of_one: of_one, _of_all: of_all })
    }

    /// Returns the number of free places.
    pub fn free(&self) -> usize {
        self.all.available_permits()
    }

    /// Returns the number of places that a namespace can take now.
    pub fn free_for(&self, namespace: &Namespace) -> usize {
        self.share(namespace).places.available_permits().min(self.free())
    }

    fn share(&self, namespace: &Namespace) -> Arc<Share> {
        // Each change leaves a valid map of shares.
        let mut shares = lock(&self.shares);
        // A share that nobody else holds is of a namespace that is done: a place holds its share.
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let new = || {
            let places = Arc::new(Semaphore::new(self.of_one));
            Arc::new(Share { places, bytes: AtomicUsize::new(0) })
        };
        Arc::clone(shares.entry(namespace.clone()).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    #[test]
    fn no_namespace_has_all_places() {
        let places = Places::new(4);
        let take = |name: &str| places.try_take(&named(name));
        let held: Vec<_> = std::iter::from_fn(|| take("one")).collect();
        assert_eq!(held.len(), 3);
        assert!(places.try_take(&named("one")).is_none());
        let other = take("two");
        assert!(other.is_some(), "at once, beside the crowd");
        assert!(take("three").is_none() && places.try_take(&named("three")).is_none());
        drop((held, other));
        assert!(take("three").is_some());
        assert_eq!(places.shares.lock().unwrap().len(), 1, "those that are done are forgotten");
    }

    #[test]
    fn namespaces_take_turns_for_a_single_place() {
        let (places, one, two) = (Places::new(1), named("one"), named("two"));
        let held = places.take(&one).now_or_never();
        assert!(held.is_some());
        let mut again = Box::pin(places.take(&one));
        let mut other = Box::pin(places.take(&two));
        assert!((&mut again).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        drop(held);
        assert!((&mut again).now_or_never().is_none(), "the other one waited for the place itself");
        assert!((&mut other).now_or_never().is_some());
    }
}
