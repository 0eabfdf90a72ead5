//! The places of requests that are answered at once: a number for each caller. A place is free
//! again when it is dropped, whatever became of the request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::model::lock;

/// The places that are taken; callers without a place are not in there.
#[derive(Debug)]
pub(super) struct Places<K: Hash + Eq> {
    most: usize,
    taken: Mutex<HashMap<K, usize>>,
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// Gives each caller this many places.
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    /// Takes a place for a caller, if one is free.
    pub(super) fn enter(self: &Arc<Self>, who: &K) -> Option<Place<K>> {
        let mut taken = self.taken();
        let count = taken.get(who).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        taken.insert(who.clone(), count + 1);
        Some(Place { places: Arc::clone(self), who: who.clone() })
    }
}

impl<K: Hash + Eq> Places<K> {
    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // Every change is complete before anything in it could panic.
        lock(&self.taken)
    }
}

/// A place of a caller.
#[derive(Debug)]
pub(super) struct Place<K: Hash + Eq> {
    places: Arc<Places<K>>,
    who: K,
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.who) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_nothing_is_left_behind() {
        let places = Arc::new(Places::new(2));
        let held = [places.enter(&"a").unwrap(), places.enter(&"a").unwrap()];
        assert!(places.enter(&"a").is_none());
        let other = places.enter(&"b").unwrap();
        drop(held);
        assert!(places.enter(&"a").is_some());
        drop(other);
        assert!(places.taken().is_empty());
    }
}
