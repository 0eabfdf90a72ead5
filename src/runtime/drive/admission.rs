//! Admission of attempts: a place, which stands for open files or for a filter's output, and memory
//! for what they send and for the programs that they run.
//!
//! An attempt that is not admitted waits in its driver, not filled in, until others have ended. No
//! namespace gets all places or all memory; each gets some whatever others take.

use std::sync::Arc;
use std::time::Duration;

use crate::definition::Action;
use crate::executor::{Place, Places};
use crate::model::{Backoff, Json, Namespace};
use crate::observe::{Memory, Pool, Reservation};
use crate::runtime::settings::{ATTEMPT_BYTES, PROGRAM_BYTES};

/// The copies of its filled-in `with` that an attempt has at once: the text, its parsed form, and
/// what is sent.
const COPIES: usize = 3;
/// The largest attempt that is never refused while its namespace has few: most are smaller.
const FREE: usize = 64 << 10;
/// The bytes per namespace up to which small attempts are never refused: those of all filters that
/// may be under way, which would else wait for the memory of one that runs.
const FREE_OF_ONE: usize = MAX_FILTERS * FREE;
/// The pauses between tries to get memory: each fills the attempt in, which may take a tenth of a
/// second of processor time.
pub(in crate::runtime) const ASK_AGAIN: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(3));

/// The most filters under way at once that are not run in place, from their beginning until the
/// thread holds their outputs. Fewer where memory is small: each may have the largest output.
const MAX_FILTERS: usize = 64;
/// The fewest of them, however little memory there is.
const FEWEST_FILTERS: usize = 2;

/// A lack that holds attempts of a thread up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime) enum Lack {
    /// A place for an attempt that opens files.
    Place,
    /// A place for a filter.
    Filter,
    Memory,
    /// The thread's turn to grow.
    Turn,
}

/// The place and the memory of an attempt under way.
#[derive(Debug)]
pub(in crate::runtime) struct Admitted {
    _place: Place,
    _memory: Reservation,
}

/// Makes the places for filters whose outputs have at most `max_event` bytes.
pub(in crate::runtime) fn filter_places(memory: &Memory, max_event: usize) -> Places {
    let fit = memory.share(Pool::Received) / max_event.max(1);
    Places::new(fit.clamp(FEWEST_FILTERS, MAX_FILTERS))
}

/// Takes a place for an attempt of this action; `None` for one that opens no files and may need no
/// place. `kept` is a place that was waited for.
pub(in crate::runtime) fn place(
    action: &Action,
    kept: &mut Option<Place>,
    (places, namespace): (&Places, &Namespace),
) -> Result<Option<Place>, Lack> {
    if !action.opens_files() {
        return Ok(None);
    }
    let mut place = kept.take().or_else(|| places.try_take(namespace)).ok_or(Lack::Place)?;
    if action.runs_program() {
        place.weigh(PROGRAM_BYTES);
    }
    Ok(Some(place))
}

/// Takes memory for a filled-in attempt. A small one, or the only one of its namespace, is never
/// refused.
pub(in crate::runtime) fn admit(
    memory: &Arc<Memory>,
    mut place: Place,
    with: &Json,
) -> Result<Admitted, Lack> {
    let data = ATTEMPT_BYTES.saturating_add(with.as_str().len().saturating_mul(COPIES));
    let others = place.bytes_of_namespace().saturating_sub(place.bytes());
    let bytes = data.saturating_add(place.bytes());
    let share = memory.share(Pool::Attempts);
    let goes_on = others == 0 || (bytes <= FREE && others < FREE_OF_ONE);
    if !goes_on && others.saturating_add(bytes) > share - share / 8 {
        return Err(Lack::Memory);
    }
    let reserved = take(memory, bytes, goes_on)?;
    place.weigh(data);
    Ok(Admitted { _place: place, _memory: reserved })
}

fn take(memory: &Arc<Memory>, bytes: usize, goes_on: bool) -> Result<Reservation, Lack> {
    if goes_on {
        return Ok(memory.note(Pool::Attempts, bytes));
    }
    memory.reserve_for_all(Pool::Attempts, bytes).map_err(|_overloaded| Lack::Memory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::MemoryMetrics;

    fn memory(limit: usize) -> Arc<Memory> {
        Arc::new(Memory::new(limit, &MemoryMetrics::default(), Box::new(|| None)))
    }

    /// Admits at most a thousand attempts of a namespace, until one has to wait.
    fn crowd(
        memory: &Arc<Memory>,
        (places, name): (&Places, &str),
        action: &Action,
    ) -> Vec<Admitted> {
        let namespace = Namespace::parse(name).unwrap();
        let begin = |_| {
            let place = place(action, &mut None, (places, &namespace)).ok()??;
            admit(memory, place, &Json::null()).ok()
        };
        (0..1000).map_while(begin).collect()
    }

    #[test]
    fn programs_at_once_follow_from_the_memory_and_no_namespace_has_all_of_it() {
        let (memory, places) = (memory(128 << 20), Places::new(2000));
        let exec = Action::Exec { program: "sleep".to_owned(), variables: Vec::new() };
        let crowd = |name| crowd(&memory, (&places, name), &exec);
        let one = crowd("one");
        assert_eq!(one.len(), 6, "of a share of 32 MiB");
        let other = crowd("other");
        assert_eq!((other.len(), crowd("third").len()), (1, 1), "one is always begun");
        drop((one, other));
        assert_eq!((memory.used(Pool::Attempts), crowd("one").len()), (0, 6));
    }

    #[test]
    fn small_attempts_wait_while_the_memory_for_steps_is_full_but_a_few_of_each_namespace() {
        let (memory, places) = (memory(256 << 20), Places::new(2000));
        let crowd = |name| crowd(&memory, (&places, name), &Action::Http);
        assert_eq!(crowd("one").len(), 1000);
        let answers = memory.note(Pool::Attempts, memory.share(Pool::Attempts));
        let few = FREE_OF_ONE.div_ceil(ATTEMPT_BYTES);
        let one = crowd("one");
        assert_eq!((one.len(), crowd("other").len()), (few, few));
        drop(answers);
        assert!(crowd("one").len() > 900);
    }

    #[test]
    fn filters_at_once_have_room_for_their_outputs() {
        let places = |limit: usize| filter_places(&memory(limit), 1 << 20).free();
        assert_eq!([places(8 << 20), places(64 << 20), places(2 << 30)], [2, 8, 64]);
    }

    #[test]
    fn attempts_that_send_much_wait_for_each_other_and_none_waits_for_ever() {
        let limit = 64 << 20;
        let memory = memory(limit);
        let (places, namespace) = (Places::new(100), Namespace::default());
        let admit = |with: &Json| admit(&memory, places.try_take(&namespace).unwrap(), with);
        let long = Json::string(&"x".repeat(3 << 20));
        let first = admit(&long).unwrap();
        assert_eq!(admit(&long).unwrap_err(), Lack::Memory);
        let small: Vec<_> = (0..10).map(|_| admit(&Json::null()).unwrap()).collect();
        assert!(memory.used(Pool::Attempts) > (9 << 20) + 10 * ATTEMPT_BYTES);
        drop((first, small));
        let larger = Json::string(&"x".repeat(limit));
        let alone = admit(&larger).unwrap();
        drop(alone);
        assert_eq!(memory.used(Pool::Attempts), 0);
    }
}
