//! Large events that readers of streams hold: each is in memory once, however many hold it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use crate::model::{Seq, ThreadId, lock};
use crate::observe::{Memory, Overloaded, Pool};
use crate::runtime::types::{RawEvent, SharedEvent};

/// Events of fewer bytes are not worth being looked for.
pub(in crate::runtime) const LARGE: usize = 8 << 10;
/// Entries without a holder that may lie about before they are looked for.
const SPARE: usize = 64;

/// The events that somebody holds.
#[derive(Debug, Default)]
pub(in crate::runtime) struct SharedEvents {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    events: BTreeMap<(ThreadId, Seq), Weak<SharedEvent>>,
    /// How many entries there may be before those without a holder are looked for.
    sweep_at: usize,
}

impl SharedEvents {
    /// The event as somebody holds it already, or as it is: others then find this one. It was read
    /// from the journal just now, so that a thread that was made anew under its id is not confused.
    pub(in crate::runtime) fn share(
        &self,
        memory: &Arc<Memory>,
        thread: &ThreadId,
        event: RawEvent,
    ) -> Result<Arc<SharedEvent>, Overloaded> {
        let key = (thread.clone(), event.seq);
        // A panic while it was held leaves entries that are looked up at worst in vain.
        let mut known = lock(&self.known);
        let found = known.events.get(&key).and_then(Weak::upgrade);
        if let Some(found) = found.filter(|found| found.event() == &event) {
            return Ok(found);
        }
        let held = memory.reserve(Pool::Streams, event.json.as_str().len())?;
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
