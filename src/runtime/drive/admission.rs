//! Admission of attempts: a place, which stands for open files, and memory for what they send.
//!
//! An attempt that is not admitted waits in its driver, filled in by nobody, until others have ended.
//! No namespace has all places.

use std::sync::Arc;
use std::time::Duration;

use crate::definition::Action;
use crate::executor::{Place, Places};
use crate::model::{Json, Namespace};
use crate::observe::{Memory, Pool, Reservation};
use crate::runtime::settings::ATTEMPT_BYTES;

/// The copies of its filled-in `with` that an attempt has at the same time: the text, what is parsed
/// from it, and what is sent.
const COPIES: usize = 3;
/// The bytes that an attempt takes without asking: most need no more.
const FREE: usize = 64 << 10;
/// The time between two tries to get memory.
pub(in crate::runtime) const ASK_EVERY: Duration = Duration::from_millis(100);

/// The thing that keeps an attempt from being begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::runtime) enum Lack {
    Place,
    Memory,
    /// The thread's turn to grow.
    Turn,
}

/// The place and the memory of an attempt under way.
#[derive(Debug)]
pub(in crate::runtime) struct Admitted {
    _place: Option<Place>,
    _memory: Reservation,
}

/// Takes a place for an attempt of this action, if it needs one: filters open no files, and have
/// places of their own. `kept` is a place that was waited for.
pub(in crate::runtime) fn place(
    action: &Action,
    kept: &mut Option<Place>,
    (places, namespace): (&Places, &Namespace),
) -> Result<Option<Place>, Lack> {
    if matches!(action, Action::Transform { .. }) {
        return Ok(None);
    }
    kept.take().or_else(|| places.try_take(namespace)).map(Some).ok_or(Lack::Place)
}

/// Takes memory for an attempt that is filled in. If no other is under way, it gets what it needs.
pub(in crate::runtime) fn admit(
    memory: &Arc<Memory>,
    place: Option<Place>,
    with: &Json,
) -> Result<Admitted, Lack> {
    let bytes = ATTEMPT_BYTES.saturating_add(with.as_str().len().saturating_mul(COPIES));
    let reserved = if bytes <= FREE || memory.used(Pool::Attempts) == 0 {
        memory.note(Pool::Attempts, bytes)
    } else {
        memory.reserve(Pool::Attempts, bytes).map_err(|_overloaded| Lack::Memory)?
    };
    Ok(Admitted { _place: place, _memory: reserved })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::MemoryMetrics;

    #[test]
    fn attempts_that_send_much_wait_for_each_other_and_none_waits_for_ever() {
        let limit = 64 << 20;
        let memory = Memory::new(limit, &MemoryMetrics::default(), Box::new(|| None));
        let memory = Arc::new(memory);
        let long = Json::string(&"x".repeat(3 << 20));
        let first = admit(&memory, None, &long).unwrap();
        assert_eq!(admit(&memory, None, &long).unwrap_err(), Lack::Memory);
        let small: Vec<_> = (0..10).map(|_| admit(&memory, None, &Json::null()).unwrap()).collect();
        assert!(memory.used(Pool::Attempts) > (9 << 20) + 10 * ATTEMPT_BYTES);
        drop((first, small));
        let larger = Json::string(&"x".repeat(limit));
        let alone = admit(&memory, None, &larger).unwrap();
        drop(alone);
        assert_eq!(memory.used(Pool::Attempts), 0);
    }
}
