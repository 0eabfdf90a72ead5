//! Deletes old threads, and watches clock, disk and memory.

pub(super) mod clock;
pub(super) mod disk;
pub(super) mod memory;
pub(super) mod retention;
pub(super) mod shrink;
