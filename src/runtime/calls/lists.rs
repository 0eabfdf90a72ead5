//! Places for the lists and counts that clients ask for.
//!
//! A list may take the store as long as any statement may run, and every reader may ask for many.
//! All lists together get a part of the store's connections, and no more.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::runtime::settings::{LIST_PATIENCE, LIST_REST, RETRY_AFTER};
use crate::runtime::types::RuntimeError;

/// A place for one list. If it is dropped before the store has answered, it stays taken for a
/// while.
pub(in crate::runtime) struct Place(Option<OwnedSemaphorePermit>);

impl Place {
    /// Waits for a place, up to a short timeout.
    pub(in crate::runtime) async fn among(places: &Arc<Semaphore>) -> Result<Self, RuntimeError> {
        let free = Arc::clone(places).acquire_owned();
        match tokio::time::timeout(LIST_PATIENCE, free).await {
            Ok(Ok(permit)) => Ok(Self(Some(permit))),
            Ok(Err(_)) | Err(_) => Err(RuntimeError::Overloaded { retry_after: RETRY_AFTER }),
        }
    }

    /// Frees the place at once: the store has answered, and nothing of the list goes on there.
    pub(in crate::runtime) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(permit), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(LIST_REST).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_waits_for_a_place_and_one_left_unanswered_is_free_after_its_rest() {
        let places = Arc::new(Semaphore::new(1));
        let first = Place::among(&places).await.ok().unwrap();
        let crowded = Place::among(&places).await.err();
        assert!(matches!(crowded, Some(RuntimeError::Overloaded { .. })), "{crowded:?}");
        first.answered();
        drop(Place::among(&places).await.ok().unwrap());
        assert_eq!(places.available_permits(), 0);
        assert!(Place::among(&places).await.is_err());
        assert!(Place::among(&places).await.is_ok());
    }
}
