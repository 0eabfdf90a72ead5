//! Bounds how long a caller waits for the store, and repeats what may be repeated.

use std::sync::Mutex;

use super::lists::Place;
use crate::model::{Namespace, lock};
use crate::observe::Overloaded;
use crate::runtime::core::Core;
use crate::runtime::drive::load::LoadError;
use crate::runtime::settings::{RETRY_AFTER, STORE_PATIENCE, STORE_PATIENCE_AWAY};
use crate::runtime::types::RuntimeError;
use crate::runtime::write::retry::Retry;
use crate::store::StoreError;

impl From<StoreError> for RuntimeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(cause) => unavailable(cause),
            StoreError::ReadOnly(cause) => {
                Self::StorageReadOnly { retry_after: RETRY_AFTER, cause }
            }
            StoreError::Full(cause) => Self::StorageFull { retry_after: RETRY_AFTER, cause },
            StoreError::Corrupt { thread, seq, detail } => {
                tracing::error!(%thread, seq, %detail, "a stored record is damaged");
                Self::Corrupt
            }
            StoreError::Fatal(detail) => {
                tracing::error!(%detail, "storage failed");
                Self::Internal
            }
        }
    }
}

impl From<Overloaded> for RuntimeError {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded { retry_after: RETRY_AFTER }
    }
}

impl From<LoadError> for RuntimeError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotFound => Self::ThreadNotFound,
            LoadError::Store(error) => error.into(),
            LoadError::Overloaded(refused) => refused.into(),
            error @ (LoadError::Event(_) | LoadError::Definition(..) | LoadError::Corrupted(_)) => {
                tracing::error!(%error, "a thread cannot be read");
                Self::Corrupt
            }
        }
    }
}

/// The answer while the store cannot be reached; the cause is for the log.
pub(in crate::runtime) fn unavailable(cause: impl Into<String>) -> RuntimeError {
    RuntimeError::Unavailable { retry_after: RETRY_AFTER, cause: cause.into() }
}

/// The answer while this replica may drive nothing.
pub(in crate::runtime) fn without_lease(core: &Core) -> RuntimeError {
    let last = core.availability.reason();
    let last = last.unwrap_or_else(|| "no call of the store fails now".to_owned());
    unavailable(format!("this replica has no lease: {last}"))
}

/// Bounds how long a caller waits for a whole call, or for one call of the store that must not be
/// repeated. Single reads within it are made [`persistently`].
pub(in crate::runtime) async fn patiently<T>(
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    let done = tokio::time::timeout(STORE_PATIENCE, work).await;
    done.unwrap_or_else(|_late| Err(unavailable("no answer within the time that a caller waits")))
}

/// Makes a call that may be repeated (a read, or a write with a key) again and again while the
/// store fails transiently and the caller's patience lasts: a broken connection must not be noticed
/// by a client.
///
/// A store that is known to be away (heartbeats have not got through for most of a lease) is asked
/// once, with a short timeout: see [`STORE_PATIENCE_AWAY`].
pub(in crate::runtime) async fn persistently<T, F>(
    core: &Core,
    mut work: impl FnMut() -> F,
) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, RuntimeError>>,
{
    let parts = &core.parts;
    let last = Mutex::new(None);
    let tries = async {
        let mut retry = Retry::new(&parts.metrics, &*parts.entropy, parts.settings.store_retry);
        loop {
            match work().await {
                Err(error) if error.is_of_an_outage() => {
                    if !core.authority().holds() {
                        return Err(error);
                    }
                    *lock(&last) = Some(error);
                    tokio::time::sleep(retry.again()).await;
                }
                answer => {
                    retry.succeeded();
                    return answer;
                }
            }
        }
    };
    let patience = if core.authority().holds() { STORE_PATIENCE } else { STORE_PATIENCE_AWAY };
    let done = tokio::time::timeout(patience, tries).await;
    let done = done.unwrap_or_else(|_late| {
        let last = lock(&last).take();
        Err(last.unwrap_or_else(|| unavailable("no answer within the time that a caller waits")))
    });
    done.inspect_err(|error| core.availability.failed_client(error))
}

/// Reads a list or a count for a client of a namespace [`persistently`], once there is a [`Place`] for
/// it.
pub(in crate::runtime) async fn listed<T, F>(
    core: &Core,
    namespace: &Namespace,
    look: impl FnMut() -> F,
) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, RuntimeError>>,
{
    let place = Place::among(&core.lists, namespace).await?;
    let found = persistently(core, look).await;
    if !matches!(&found, Err(error) if error.is_of_an_outage()) {
        place.answered();
    }
    found
}

/// Reads something for a reader of a namespace [`persistently`], once there is a place for that. The
/// whole takes no longer than the store alone may.
pub(in crate::runtime) async fn shown<T, F>(
    core: &Core,
    namespace: &Namespace,
    look: impl FnMut() -> F,
) -> Result<T, RuntimeError>
where
    F: Future<Output = Result<T, RuntimeError>>,
{
    patiently(async {
        let _place = core.shown.place(namespace).await?;
        persistently(core, look).await
    })
    .await
}
