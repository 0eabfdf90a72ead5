//! Bounds that all stores share.

use std::time::Duration;

use crate::model::Timestamp;

/// How long an idempotency key answers repeats with its first thread: 24 hours.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_hours(24);

/// Longest text that is kept as it is in an index: a B-tree page of Postgres holds three entries
/// of at most 2,704 bytes, and nobody filters by a longer label.
pub(super) const MAX_INDEXED_TEXT: usize = 512;

/// The label of a fork: which thread it was forked from. No member of a metadata object is kept under
/// it, as none can be asked for by an empty name.
pub const FORK_LABEL: &str = "";

/// How many hours of tallies are kept besides the current one: two days, of which a day is shown.
pub(super) const TALLIES_KEPT: i64 = 48;

/// The hour, since the Unix epoch, that a tally at this time is kept for.
pub(super) const fn tally_hour(at: Timestamp) -> i64 {
    at.millis().div_euclid(3_600_000)
}

/// Messages of an inbox that are read together at the most, if they have no more than
/// [`MAX_READ_BYTES`]: they are taken with one append.
pub(super) const MAX_INBOX: usize = 256;

/// The most bytes of threads that one statement deletes: well within what a statement may take on a
/// slow disk.
pub(super) const MAX_DELETED_BYTES: i64 = 32 << 20;

/// The most events of threads that are weighed, and deleted, with one statement.
pub(super) const MAX_DELETED_EVENTS: i64 = 20_000;

/// The most bytes of one part of a thread that is too large to be deleted whole.
pub(super) const PART_BYTES: i64 = 16 << 20;

/// The most rows of such a part.
pub(super) const PART_ROWS: i64 = 2_000;

/// A thread with as many untaken messages takes no more: about what its driver takes in four appends.
pub(super) const MAX_UNTAKEN: usize = 1_000;

/// A thread whose untaken messages would have more bytes than this takes no more, unless there are none.
pub(super) const MAX_UNTAKEN_BYTES: usize = 8 << 20;

/// A message that is smaller finds room also where larger ones filled it up: a thread that nobody could
/// drive must be stopped all the same.
pub(super) const SMALL_MESSAGE: usize = 4 << 10;

/// A read of the journal ends before the row that would make it more bytes than this, unless that is
/// its first: what a reader costs in memory.
pub(super) const MAX_READ_BYTES: usize = 1 << 20;
