//! The memory for data that attempts receive, and for their outputs until the thread holds them.
//!
//! An attempt is never refused: if there is no room, it waits for some, for a while, before it
//! reads on. One attempt of each namespace never waits: if all waited with a part of what they are
//! to receive, none would ever end. No namespace gets all of the memory.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::places::{Place, Places};
use crate::model::{Category, Failure, Namespace, codes, lock};
use crate::observe::{Memory, Pool, Reservation};

/// The number of bytes that an attempt receives without asking: most answers have fewer.
const FREE: usize = 16 << 10;
/// The time between two tries to get room.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The longest wait of an attempt for room: the other side waits as well.
const PATIENCE: Duration = Duration::from_mins(1);
/// More places than there can ever be namespaces.
const ANY_NUMBER: usize = usize::MAX >> 8;

/// Makes the rooms of attempts.
#[derive(Debug)]
pub struct Rooms {
    memory: Arc<Memory>,
    /// One place for each namespace, for the attempt that never waits.
    first: Places,
}

/// The memory of one attempt; a clone is the same room.
#[derive(Debug, Clone)]
pub struct Room {
    rooms: Arc<Rooms>,
    namespace: Namespace,
    held: Arc<Mutex<Held>>,
    /// Set while the attempt's thread goes before all others: it never waits then.
    first: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Held {
    /// The bytes that were asked for.
    wanted: usize,
    reserved: Reservation,
    /// Set if the attempt is the one of its namespace that never waits.
    first: Option<Place>,
}

impl Rooms {
    /// Makes rooms that take their memory from a budget.
    pub fn within(memory: &Arc<Memory>) -> Arc<Self> {
        Arc::new(Self { memory: Arc::clone(memory), first: Places::shared(ANY_NUMBER, 1) })
    }

    /// Makes the room of an attempt, without any bytes yet.
    pub fn room(self: &Arc<Self>, namespace: Namespace) -> Room {
        let held = Held {
            wanted: 0,
            reserved: self.memory.note_for(Pool::Received, &namespace, 0),
            first: None,
        };
        let held = Arc::new(Mutex::new(held));
        Room { rooms: Arc::clone(self), namespace, held, first: Arc::default() }
    }

    /// Returns whether outputs fill the memory for them.
    pub fn are_full(&self) -> bool {
        self.memory.used(Pool::Received) >= self.memory.share(Pool::Received)
    }
}

impl Room {
    /// Returns the same room, which never waits while `first` is set.
    #[must_use]
    pub fn unless(self, first: &Arc<AtomicBool>) -> Self {
        Self { first: Arc::clone(first), ..self }
    }

    /// Takes room for more bytes, waiting until there is some.
    pub(super) async fn take(&self, more: usize) -> Result<(), Failure> {
        {
            let mut held = lock(&self.held);
            held.wanted = held.wanted.saturating_add(more);
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.grow() {
            if deadline.elapsed() > Duration::ZERO {
                let message = "the server has no memory left for what the step receives";
                let category = Category::Resource;
                return Err(Failure::recoverable(codes::OVERLOADED, category, message));
            }
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    /// Tries to take all that was asked for.
    fn grow(&self) -> bool {
        let mut held = lock(&self.held);
        let missing = held.wanted.saturating_sub(held.reserved.bytes());
        if held.wanted <= FREE || missing == 0 {
            return true;
        }
        if held.first.is_none() && !self.first.load(Ordering::Relaxed) {
            if held.reserved.grow(missing).is_ok() {
                return true;
            }
            held.first = self.rooms.first.try_take(&self.namespace);
            if held.first.is_none() {
                return false;
            }
        }
        let wanted = held.wanted;
        held.reserved.set(wanted);
        true
    }

    /// Counts an output of `bytes` bytes in place of what was received for it, whatever room there
    /// is. It counts until every clone of the room is dropped.
    pub fn keep(&self, bytes: usize) {
        let mut held = lock(&self.held);
        held.wanted = bytes;
        if bytes > held.reserved.bytes() {
            held.reserved.set(bytes);
        }
    }
}

#[cfg(test)]
impl Room {
    /// Makes a room without a bound.
    pub(crate) fn boundless() -> Self {
        Rooms::within(&Arc::new(Memory::boundless())).room(Namespace::default())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::observe::MemoryMetrics;

    const LIMIT: usize = 64 << 20;
    const MEGABYTE: usize = 1 << 20;

    fn rooms() -> Arc<Rooms> {
        let memory = Memory::new(LIMIT, &MemoryMetrics::default(), Box::new(|| None));
        Rooms::within(&Arc::new(memory))
    }

    fn room(rooms: &Arc<Rooms>, name: &str) -> Room {
        rooms.room(Namespace::parse(name).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_waits_for_room_and_fails_for_now_if_there_is_none_for_long() {
        let rooms = rooms();
        let first = room(&rooms, "one");
        first.take(LIMIT).await.unwrap();
        let second = room(&rooms, "one");
        second.take(FREE).await.unwrap();
        let waits = second.take(FREE);
        let (waited, ()) = tokio::join!(waits, async {
            sleep(Duration::from_secs(5)).await;
            drop(first);
        });
        waited.unwrap();
        second.take(LIMIT).await.unwrap();
        let failure = room(&rooms, "one").take(LIMIT).await.unwrap_err();
        assert!(failure.recoverable && failure.code == "overloaded");
    }

    /// A hundred attempts each receive two megabytes, of which one reads at a time as they come.
    #[tokio::test(start_paused = true)]
    async fn attempts_that_each_hold_a_part_end_all_the_same() {
        let rooms = rooms();
        let began = Instant::now();
        let attempts = (0..100).map(|_| async {
            let room = room(&rooms, "one");
            for _ in 0..20 {
                room.take(MEGABYTE / 10).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
        futures_util::future::join_all(attempts).await;
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(rooms.memory.used(Pool::Received), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_namespace_receives_holds_up_no_other() {
        let rooms = rooms();
        let mut held = Vec::new();
        let fill = async {
            loop {
                let room = room(&rooms, "one");
                room.take(MEGABYTE / 4).await.unwrap();
                held.push(room);
            }
        };
        tokio::time::timeout(PATIENCE / 2, fill).await.unwrap_err();
        assert!(!rooms.are_full(), "an eighth is left");
        let other = room(&rooms, "other");
        assert_eq!(other.take(MEGABYTE / 2).now_or_never(), Some(Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn the_attempts_of_a_thread_that_goes_first_never_wait() {
        let (rooms, goes_first) = (rooms(), Arc::new(AtomicBool::new(false)));
        let others = room(&rooms, "one");
        others.take(LIMIT).await.unwrap();
        let [attempt, other] = ["a", "b"].map(|_| room(&rooms, "one").unless(&goes_first));
        assert!(attempt.take(MEGABYTE).now_or_never().is_none());
        goes_first.store(true, Ordering::Relaxed);
        assert_eq!(attempt.take(MEGABYTE).now_or_never(), Some(Ok(())));
        assert_eq!(other.take(MEGABYTE).now_or_never(), Some(Ok(())));
    }

    #[test]
    fn an_output_counts_until_the_thread_holds_it() {
        let rooms = rooms();
        let room = room(&rooms, "one");
        room.keep(MEGABYTE);
        let clone = room.clone();
        drop(room);
        assert_eq!(rooms.memory.used(Pool::Received), MEGABYTE);
        drop(clone);
        assert_eq!(rooms.memory.used(Pool::Received), 0);
    }
}
