//! The lock file beside the database: one process at a time.
//!
//! SQLite's own locks would let a second server in between two writes. Whoever holds this one
//! knows that every earlier owner of the file is dead, however it died.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use crate::store::OpenError;

use super::private::{self, beside};

/// Held for as long as the store lives; the system lets go of it when the process dies.
#[derive(Debug)]
pub(super) struct LockFile {
    #[expect(dead_code, reason = "the lock lasts as long as the file is open")]
    file: File,
}

/// Keeps other processes away from a database file while it lives; see [`super::SqliteStore::hold`].
#[derive(Debug)]
pub struct FileHold(#[expect(dead_code, reason = "held for its lock")] pub(super) Arc<LockFile>);

impl LockFile {
    /// Makes the database's folder if need be and takes the lock.
    pub(super) fn take(database: &Path) -> Result<Self, OpenError> {
        let unfit = |path: &Path, error: std::io::Error| {
            OpenError::Unfit(format!("{} can't be used: {error}", path.display()))
        };
        if let Some(folder) = database.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| unfit(folder, error))?;
        }
        let path = beside(database, ".lock");
        let file = private::open(&path).map_err(|error| unfit(&path, error))?;
        match file.try_lock() {
            Ok(()) => {
                private::keep(database).map_err(|error| unfit(database, error))?;
                Ok(Self { file })
            }
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(database.display().to_string())),
            Err(TryLockError::Error(error)) => Err(unfit(&path, error)),
        }
    }
}
