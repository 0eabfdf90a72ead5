//! The meaning of SQLite's errors.

use crate::store::{OpenError, Result, StoreError};

/// Result codes that pass by themselves, with SQLite's names: the low byte of the extended code.
const TRANSIENT: [(u32, &str); 9] = [
    (5, "SQLITE_BUSY"),
    (6, "SQLITE_LOCKED"),
    (7, "SQLITE_NOMEM"),
    (8, "SQLITE_READONLY"),
    (9, "SQLITE_INTERRUPT"),
    (10, "SQLITE_IOERR"),
    (13, "SQLITE_FULL"),
    (14, "SQLITE_CANTOPEN"),
    (15, "SQLITE_PROTOCOL"),
];

/// `SQLITE_FULL`: the disk has no room.
const FULL: u32 = 13;

/// Result codes that lie in the data of one write: `SQLITE_TOOBIG`, `SQLITE_CONSTRAINT`,
/// `SQLITE_MISMATCH`.
const ABOUT_DATA: [u32; 3] = [18, 19, 20];

/// Extended result codes after which what was written may be lost although trying again would
/// succeed: `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC`. The kernel reports a page that it
/// could not write once and takes it for clean from then on. A failed write (`SQLITE_IOERR_WRITE`, a
/// quota for one) is none of them: its pages are written afresh by whoever tries again.
const DISK: [u32; 2] = [1034, 1290];

/// A failed transaction, by what is done about it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The data of one of its writes: find the one.
    Data(String),
    /// The disk cannot be vouched for: acknowledge nothing any more.
    Disk(String),
    /// Not about the data.
    Store(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match extended(&error) {
            Some(code) if DISK.contains(&code) => return Self::Disk(error.to_string()),
            _ => {}
        }
        match code(&error) {
            Some(code) if ABOUT_DATA.contains(&code) => Self::Data(error.to_string()),
            _ => Self::Store(fault(&error)),
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Data(detail) => Self::Fatal(detail),
            Fault::Disk(detail) => Self::Unavailable(detail),
            Fault::Store(error) => error,
        }
    }
}

/// Waits for what is read from the file.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T> {
    call.await.map_err(|error| fault(&error))
}

/// The error as whoever opens the file sees it.
pub(super) fn unusable(error: &sqlx::Error) -> OpenError {
    OpenError::Unfit(format!("the database file can't be used: {error}"))
}

/// The error as the runtime sees it.
pub(super) fn fault(error: &sqlx::Error) -> StoreError {
    let lost = matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    );
    let passes = |code| TRANSIENT.iter().any(|(known, _)| *known == code);
    if code(error) == Some(FULL) {
        return StoreError::Full(error.to_string());
    }
    if lost || code(error).is_some_and(passes) {
        return StoreError::Unavailable(error.to_string());
    }
    StoreError::Fatal(error.to_string())
}

fn code(error: &sqlx::Error) -> Option<u32> {
    Some(extended(error)? & 0xFF)
}

fn extended(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}
