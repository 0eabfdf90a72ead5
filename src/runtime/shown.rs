//! The store as readers see it: over connections that nothing else uses, with places for those who read
//! journals.
//!
//! A journal may be large, and every reader may open many connections. However many read however much,
//! claims, messages and the reads of other namespaces go on.

use std::fmt;
use std::sync::Arc;

use super::settings::{READ_PATIENCE, READS_AT_ONCE};
use crate::executor::{Place, Places};
use crate::model::Namespace;
use crate::observe::Overloaded;
use crate::store::Store;

/// The store for readers, and their places.
pub(in crate::runtime) struct Shown {
    store: Arc<dyn Store>,
    places: Places,
}

impl Shown {
    /// Makes the places beside a store.
    pub(in crate::runtime) fn of(store: &Arc<dyn Store>) -> Self {
        let (store, connections) =
            store.for_readers().unwrap_or_else(|| (Arc::clone(store), READS_AT_ONCE));
        // Each namespace leaves a connection to others.
        Self { store, places: Places::new(connections) }
    }

    /// Returns the store for what is shown to somebody.
    pub(in crate::runtime) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Waits for a place to read a journal, up to a short timeout. Whoever has one must not wait for
    /// another.
    pub(in crate::runtime) async fn place(
        &self,
        namespace: &Namespace,
    ) -> Result<Place, Overloaded> {
        self.places.take_within(namespace, READ_PATIENCE).await.ok_or(Overloaded)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("places", &self.places).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::SystemClock;
    use crate::store::{MemoryStore, SqliteStore};

    /// Takes all places that one namespace gets, and returns their number.
    async fn crowd(shown: &Shown) -> usize {
        let (one, other) = (Namespace::default(), Namespace::parse("other").unwrap());
        let mut held = Vec::new();
        while let Ok(place) = shown.place(&one).await {
            held.push(place);
        }
        assert!(shown.place(&other).await.is_ok());
        let most = held.len();
        held.pop();
        assert!(shown.place(&one).await.is_ok());
        most
    }
    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_one_namespace_is_refused_and_another_one_reads() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        assert_eq!(crowd(&Shown::of(&store)).await, READS_AT_ONCE - 1);
    }

    #[tokio::test]
    async fn a_crowd_of_one_namespace_leaves_a_connection_of_a_file_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::start());
        let file = SqliteStore::open(&folder.path().join("a.db"), clock).await.unwrap();
        let store: Arc<dyn Store> = Arc::new(file);
        let (_, connections) = store.for_readers().unwrap();
        tokio::time::pause();
        assert_eq!((crowd(&Shown::of(&store)).await, connections), (3, 4));
        tokio::time::resume();
        store.close().await;
    }
}
