//! The meaning of the driver's errors.

use std::future::Future;
use std::time::Duration;

use crate::store::{OpenError, Result, StoreError};

use super::sqlstate;

/// Longest wait for any answer: beyond `statement_timeout`, so that it only ends calls whose
/// connection went silent.
const ANSWER_DEADLINE: Duration = Duration::from_secs(12);

/// A failed write statement, by what is done about it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The data of one of its writes: find the one.
    Data(String),
    /// Somebody else holds a row of one of its writes: find the one.
    Locked,
    /// The guard of the start statement: send it again.
    Again,
    /// Not about the data.
    Store(StoreError),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        match code(&error).as_deref() {
            Some(sqlstate::DIVISION_BY_ZERO) => Self::Again,
            Some(sqlstate::LOCK_NOT_AVAILABLE) => Self::Locked,
            Some(code) if sqlstate::is_about_data(code) => Self::Data(error.to_string()),
            _ => Self::Store(fault(&error)),
        }
    }
}

/// Waits for an answer of the database, though not for ever.
pub(super) async fn answer<T>(
    call: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T> {
    answer_or(call).await
}

/// Like [`answer`], for a caller that tells more errors apart.
pub(super) async fn answer_or<T, E: From<sqlx::Error>>(
    call: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> Result<T, E> {
    match tokio::time::timeout(ANSWER_DEADLINE, call).await {
        Ok(result) => result.map_err(E::from),
        Err(_) => Err(E::from(sqlx::Error::PoolTimedOut)),
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        fault(&error)
    }
}

/// The error as the runtime sees it. Messages of the server and the driver never hold a password.
fn fault(error: &sqlx::Error) -> StoreError {
    let lost = matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
    );
    match code(error) {
        Some(code) if sqlstate::is_transient(&code) => {
            let detail = format!("{error} (SQLSTATE {code})");
            match code.as_str() {
                sqlstate::READ_ONLY => StoreError::ReadOnly(detail),
                sqlstate::DISK_FULL => StoreError::Full(detail),
                _ => StoreError::Unavailable(detail),
            }
        }
        Some(code) => StoreError::Fatal(format!("{error} (SQLSTATE {code})")),
        None if lost => StoreError::Unavailable(error.to_string()),
        None => StoreError::Fatal(error.to_string()),
    }
}

/// The error of a connection that could not be made.
pub(super) fn open_fault(error: &sqlx::Error, user: &str, database: &str) -> OpenError {
    match code(error) {
        Some(code) if sqlstate::is_refusal(&code) => OpenError::Refused(format!(
            "{error} (SQLSTATE {code}); connecting as role {user:?} to database {database:?}: \
             check the role, its password and privileges, and the database's name"
        )),
        Some(code) if sqlstate::is_transient(&code) => {
            OpenError::Unreachable(format!("{error} (SQLSTATE {code})"))
        }
        Some(code) => OpenError::Unfit(format!("{error} (SQLSTATE {code})")),
        None => OpenError::Unreachable(error.to_string()),
    }
}

/// The SQLSTATE of an error that the server answered with.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}
