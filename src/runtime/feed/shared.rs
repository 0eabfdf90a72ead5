//! Large events held by readers of streams: each is in memory once, however many readers hold it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::model::{Seq, ThreadId, lock};
use crate::observe::{Memory, Overloaded, Pool};
use crate::runtime::types::{RawEvent, SharedEvent};

/// The size, in bytes, from which an event is shared; looking for smaller ones is not worth it.
pub(in crate::runtime) const LARGE: usize = 8 << 10;
/// The entries without a holder that may remain before they are swept.
const SPARE: usize = 64;

/// The large events that readers hold.
#[derive(Debug, Default)]
pub(in crate::runtime) struct SharedEvents {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    events: BTreeMap<(ThreadId, Seq), Weak<SharedEvent>>,
    /// The number of entries above which those without a holder are swept.
    sweep_at: usize,
}

impl SharedEvents {
    /// Returns the event as another reader holds it already, or keeps this one for the next
    /// readers. The event was read from the journal just now, and a held one must be equal to it,
    /// so that a thread that was deleted and created anew under the same id is not confused with
    /// the old one.
    pub(in crate::runtime) fn share(
        &self,
        memory: &Arc<Memory>,
        thread: &ThreadId,
        event: RawEvent,
    ) -> Result<Arc<SharedEvent>, Overloaded> {
        let key = (thread.clone(), event.seq);
        // A panic while it was held leaves at worst entries whose event is gone.
        let mut known = lock(&self.known);
        let found = known.events.get(&key).and_then(Weak::upgrade);
        if let Some(found) = found.filter(|found| found.event() == &event) {
            return Ok(found);
        }
        let held = memory.reserve_for_all(Pool::Streams, event.json.as_str().len())?;
        let shared = Arc::new(SharedEvent::new(event, held));
        known.events.insert(key, Arc::downgrade(&shared));
        if known.events.len() > known.sweep_at {
            known.events.retain(|_, event| event.strong_count() > 0);
            known.sweep_at = known.events.len() * 2 + SPARE;
        }
        Ok(shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Json;

    fn event(seq: Seq, text: &str) -> RawEvent {
        RawEvent { seq, kind: "step_complete", json: Json::string(text) }
    }

    #[test]
    fn one_event_is_held_once_and_another_of_its_number_is_not_taken_for_it() {
        let memory = Arc::new(Memory::boundless());
        let (events, thread) = (SharedEvents::default(), ThreadId::parse("t").unwrap());
        let share = |seq, text| events.share(&memory, &thread, event(seq, text)).unwrap();
        let (one, same, other) = (share(1, "a"), share(1, "a"), share(1, "bb"));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert_eq!(memory.used(Pool::Streams), 3 + 4);
        drop((one, same, other));
        assert_eq!(memory.used(Pool::Streams), 0);
    }

    #[test]
    fn what_nobody_holds_is_forgotten() {
        let memory = Arc::new(Memory::boundless());
        let (events, thread) = (SharedEvents::default(), ThreadId::parse("t").unwrap());
        for seq in 1..1_000 {
            drop(events.share(&memory, &thread, event(seq, "a")).unwrap());
        }
        assert!(events.known.lock().unwrap().events.len() <= 2 * SPARE + 2);
    }
}
