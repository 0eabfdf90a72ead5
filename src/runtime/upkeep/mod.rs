//! Deletes old threads, and watches disk and memory.

pub(super) mod disk;
pub(super) mod memory;
pub(super) mod retention;
