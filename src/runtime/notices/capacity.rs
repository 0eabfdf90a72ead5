//! The capacity of a replica for messages under way: places, and memory for the events that they
//! hold.
//!
//! A message is under way for as long as its receiver takes, so hundreds of them may wait for
//! receivers that are slow. All lanes share the places, and no namespace gets all of them, or all of
//! the memory. One message of each namespace goes on without room: the largest event has to be sent
//! as well, and so have alerts while the memory is short.

use std::sync::Arc;

use crate::executor::{Place, Places};
use crate::model::Namespace;
use crate::observe::{Memory, Overloaded, Pool, Reservation};
use crate::runtime::settings::ATTEMPT_BYTES;

/// The most messages under way: they hold connections, and the store stores the result of each.
const PLACES: usize = 64;
/// The fewest, however little memory there is.
const FEWEST_PLACES: usize = 8;
/// The bytes of a page of events; a page of one larger event has more.
pub(super) const PAGE_BYTES: usize = 1 << 20;
/// More places than there can ever be namespaces.
const ANY_NUMBER: usize = usize::MAX >> 8;

/// The capacity of a replica.
#[derive(Debug)]
pub(super) struct Capacity {
    memory: Arc<Memory>,
    places: Places,
    /// One place for each namespace, for the message that needs no room.
    first: Arc<Places>,
}

/// The place of a message under way, and its memory.
#[derive(Debug)]
pub(super) struct Slot {
    namespace: Namespace,
    reserved: Reservation,
    firsts: Arc<Places>,
    /// Set if it needs no room.
    first: Option<Place>,
    _place: Place,
}

impl Capacity {
    /// Makes the capacity that a budget of memory affords.
    pub(super) fn within(memory: &Arc<Memory>) -> Self {
        let affordable = memory.share(Pool::Notices) / PAGE_BYTES;
        let places = affordable.clamp(FEWEST_PLACES, PLACES);
        Self {
            memory: Arc::clone(memory),
            places: Places::shared(places, places / 2),
            first: Arc::new(Places::shared(ANY_NUMBER, 1)),
        }
    }

    /// Returns the number of free places.
    pub(super) fn free(&self) -> usize {
        self.places.free()
    }

    /// Returns the number of places that a namespace can take now.
    pub(super) fn free_for(&self, namespace: &Namespace) -> usize {
        self.places.free_for(namespace)
    }

    /// Takes a place for a message of a namespace.
    pub(super) fn slot(&self, namespace: &Namespace) -> Option<Slot> {
        Some(Slot {
            namespace: namespace.clone(),
            reserved: self.memory.note_for(Pool::Notices, namespace, 0),
            firsts: Arc::clone(&self.first),
            first: None,
            _place: self.places.try_take(namespace)?,
        })
    }
}

impl Slot {
    /// Changes the memory to that of so many bytes of events. Fails if that is more than before, there
    /// is no room for it, and another message of the namespace goes on without room.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Overloaded> {
        let (wanted, held) = (bytes.saturating_add(ATTEMPT_BYTES), self.reserved.bytes());
        if wanted > held && self.first.is_none() {
            let Err(refused) = self.reserved.grow(wanted - held) else { return Ok(()) };
            self.first = Some(self.firsts.try_take(&self.namespace).ok_or(refused)?);
        }
        self.reserved.set(wanted);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::MemoryMetrics;

    fn capacity(limit: usize) -> Capacity {
        let memory = Memory::new(limit, &MemoryMetrics::default(), Box::new(|| None));
        Capacity::within(&Arc::new(memory))
    }

    fn named(name: &str) -> Namespace {
        Namespace::parse(name).unwrap()
    }

    #[test]
    fn no_namespace_has_all_places_for_messages() {
        let capacity = capacity(1 << 30);
        let [one, other] = ["one", "other"].map(named);
        let held: Vec<_> = std::iter::from_fn(|| capacity.slot(&one)).collect();
        assert_eq!((held.len(), capacity.free_for(&one), capacity.free()), (32, 0, 32));
        assert_eq!(capacity.free_for(&other), 32);
        assert!(capacity.slot(&other).is_some());
        drop(held);
        assert_eq!(capacity.free_for(&one), 32);
    }

    #[test]
    fn one_message_of_a_namespace_goes_on_without_room() {
        let capacity = capacity(64 << 20);
        let [one, other] = ["one", "other"].map(named);
        let mut slots: Vec<_> = std::iter::from_fn(|| capacity.slot(&one)).collect();
        assert_eq!(slots.len(), 4);
        let mut fits =
            || slots.iter_mut().map(|slot| slot.hold(3 << 20).is_ok()).collect::<Vec<_>>();
        assert_eq!(fits(), [true, true, true, false]);
        assert!(capacity.slot(&other).unwrap().hold(900 << 10).is_ok());
        assert!(capacity.memory.used(Pool::Notices) > 9 << 20);
        slots.truncate(1);
        assert!(capacity.slot(&one).unwrap().hold(2 << 20).is_ok());
        slots[0].hold(0).unwrap();
        assert_eq!(capacity.memory.used(Pool::Notices), ATTEMPT_BYTES);
    }
}
