//! The budgets of runs.

use crate::meter::Budget;

/// The deepest nesting of arrays and objects in inputs and results: the recursion limit of
/// `serde_json`, so that every other reader can read them.
pub const MAX_JSON_DEPTH: usize = 127;

/// The budget of work on the caller's thread: about a millisecond.
pub(crate) const INLINE: Budget =
    Budget { fuel: 10_000, memory: 8 * 1024 * 1024, stack: 512 * 1024 };
/// The budget of one whole run: about a second.
pub(crate) const FULL: Budget = Budget { fuel: 4_000_000, memory: MAX_MEMORY, stack: STACK };
/// The bytes of stack that a run may take: hundreds of times the need of filters that people write.
pub(crate) const STACK: usize = 32 * 1024 * 1024;
/// The bytes of memory that a run may take for each byte that its result may have. The input of a
/// filter may be as large as the result, becomes some forty times as large where it is a list of
/// tiny objects, and may be made into another such list twice.
const MEMORY_PER_BYTE: usize = 128;
/// The least memory of a run, in bytes: intermediate values may be larger than the result.
const MIN_MEMORY: usize = 64 * 1024 * 1024;
/// The most memory of a run, in bytes, however large results may be.
const MAX_MEMORY: usize = 512 * 1024 * 1024;

/// The limits of a run's result.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest result, in bytes of JSON text.
    pub max_output_bytes: usize,
}

impl Limits {
    /// Returns the most bytes that a run takes.
    pub const fn memory(self) -> usize {
        self.values() + STACK
    }

    /// Returns the bytes that a run may take for its values.
    pub(crate) const fn values(self) -> usize {
        match self.max_output_bytes.saturating_mul(MEMORY_PER_BYTE) {
            little if little < MIN_MEMORY => MIN_MEMORY,
            much if much > MAX_MEMORY => MAX_MEMORY,
            bytes => bytes,
        }
    }
}
