//! Bounds how long a caller waits for the store, and repeats what may be repeated.

use super::lists::Place;
use crate::model::Namespace;
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
            StoreError::Unavailable(detail) => {
                tracing::warn!(%detail, "storage is unavailable");
                Self::Unavailable { retry_after: RETRY_AFTER }
            }
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

/// Bounds how long a caller waits for a whole call, or for one call of the store that must not be
/// repeated. Single reads within it are made [`persistently`].
pub(in crate::runtime) async fn patiently<T>(
    work: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    let unavailable = RuntimeError::Unavailable { retry_after: RETRY_AFTER };
    tokio::time::timeout(STORE_PATIENCE, work).await.unwrap_or(Err(unavailable))
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
    let tries = async {
        let mut retry = Retry::new(&parts.metrics, &*parts.entropy, parts.settings.store_retry);
        loop {
            match work().await {
                Err(RuntimeError::Unavailable { .. }) if core.authority().holds() => {
                    tokio::time::sleep(retry.again()).await;
                }
                Err(unavailable @ RuntimeError::Unavailable { .. }) => return Err(unavailable),
                answer => {
                    retry.succeeded();
                    return answer;
                }
            }
        }
    };
    let patience = if core.authority().holds() { STORE_PATIENCE } else { STORE_PATIENCE_AWAY };
    let unavailable = RuntimeError::Unavailable { retry_after: RETRY_AFTER };
    tokio::time::timeout(patience, tries).await.unwrap_or(Err(unavailable))
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
    if !matches!(found, Err(RuntimeError::Unavailable { .. })) {
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
