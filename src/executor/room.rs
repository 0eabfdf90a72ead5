//! The memory that an attempt takes for data that it receives.
//!
//! An attempt is never refused: if there is no room, it waits for some, for a while, before it
//! reads on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::model::{Category, Failure, codes};
use crate::observe::{Memory, Pool, Reservation};

/// The number of bytes that an attempt receives without asking: most answers have fewer.
const FREE: usize = 64 << 10;
/// The time between two tries to get room.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// The longest wait of an attempt for room: the other side waits as well.
const PATIENCE: Duration = Duration::from_mins(1);

/// The memory of one attempt.
#[derive(Debug)]
pub(super) struct Room {
    held: Reservation,
    bytes: usize,
}

impl Room {
    /// Makes a room without any bytes yet.
    pub(super) fn new(memory: &Arc<Memory>) -> Self {
        Self { held: memory.note(Pool::Attempts, 0), bytes: 0 }
    }

    /// Takes room for more bytes, waiting until there is some.
    pub(super) async fn take(&mut self, more: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(more);
        if self.bytes <= FREE {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        while self.held.grow(self.bytes - self.held.bytes()).is_err() {
            if deadline.elapsed() > Duration::ZERO {
                let message = "the server has no memory left for what the step receives";
                let category = Category::Resource;
                return Err(Failure::recoverable(codes::OVERLOADED, category, message));
            }
            sleep(ASK_EVERY).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::MemoryMetrics;

    #[tokio::test(start_paused = true)]
    async fn an_attempt_waits_for_room_and_fails_for_now_if_there_is_none_for_long() {
        let limit = 4 << 20;
        let memory = Memory::new(limit, &MemoryMetrics::default(), Box::new(|| None));
        let memory = Arc::new(memory);
        let mut first = Room::new(&memory);
        first.take(900 << 10).await.unwrap();
        let mut second = Room::new(&memory);
        second.take(FREE).await.unwrap();
        let waits = second.take(200 << 10);
        let (waited, ()) = tokio::join!(waits, async {
            sleep(Duration::from_secs(5)).await;
            drop(first);
        });
        waited.unwrap();
        let failure = Room::new(&memory).take(limit).await.unwrap_err();
        assert!(failure.recoverable && failure.code == "overloaded");
    }
}
