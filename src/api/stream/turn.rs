//! How many readers of streams read from the journal at once.
//!
//! A reader holds little but reads much: hundreds that read at the same moment would take a megabyte
//! or two each.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Reads at once: more than the stores have connections for would only wait with their memory.
const AT_ONCE: usize = 8;
/// Longest wait for a turn: while the database is away no turn ends soon, and each reader is to hear of
/// that itself.
const PATIENCE: Duration = Duration::from_secs(1);

/// One for the process, as its memory is.
static TURNS: Semaphore = Semaphore::const_new(AT_ONCE);

/// Waits for a turn to read; `None` where none came in time, which is no reason not to read.
pub(super) async fn turn() -> Option<SemaphorePermit<'static>> {
    tokio::time::timeout(PATIENCE, TURNS.acquire()).await.ok()?.ok()
}
