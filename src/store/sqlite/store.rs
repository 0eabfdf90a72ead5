//! The store itself: what its calls write through and read from.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sqlx::SqlitePool;

use crate::model::Clock;

use super::FileHold;
use super::writer::Writer;

/// A store in an SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
    /// The first incarnation that this process registered.
    pub(super) first_own: AtomicI64,
}

impl SqliteStore {
    /// Keeps other processes away from the file also once the store is closed, until the hold is
    /// dropped: for whoever renames it. `None` if it is closed already.
    pub fn hold(&self) -> Option<FileHold> {
        self.writer.hold()
    }
}
