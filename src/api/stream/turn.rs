//! Bounds the readers of streams that read from the journal at once.
//!
//! A reader holds little but reads much: hundreds that read at the same moment would take a
//! megabyte or two each.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// The readers that read at once: more than the stores have connections for would only wait with
/// their memory.
const AT_ONCE: usize = 8;
/// The longest wait for a turn: while the database is away no turn ends soon, and each reader must
/// find that out itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// The turns. There is one set for the process, as its memory is one.
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// A turn to read, until it is dropped; `None` if none came in time, in which case the caller reads
/// without one.
pub(super) type Turn = Option<SemaphorePermit<'static>>;

/// Waits for a turn to read.
pub(super) async fn turn() -> Turn {
    tokio::time::timeout(PATIENCE, TURNS.acquire()).await.ok()?.ok()
}
