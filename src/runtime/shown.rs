//! The store as readers see it: over connections that nothing else uses, with places for those who read
//! journals.
//!
//! A journal may be large, and every reader may open many connections. However many read however much,
//! claims, messages and the reads of other namespaces go on.

use std::fmt;
use std::sync::Arc;

use super::settings::{READ_PATIENCE, READS_AT_ONCE, READS_OF_ONE};
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
        Self {
            store: store.for_readers().unwrap_or_else(|| Arc::clone(store)),
            places: Places::shared(READS_AT_ONCE, READS_OF_ONE),
        }
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
        match tokio::time::timeout(READ_PATIENCE, self.places.take(namespace)).await {
            Ok(Ok(place)) => Ok(place),
            // The places are never closed.
            Ok(Err(_)) | Err(_) => Err(Overloaded),
        }
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
    use crate::store::MemoryStore;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_one_namespace_is_refused_and_another_one_reads() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(SystemClock::start())));
        let shown = Shown::of(&store);
        let (one, other) = (Namespace::default(), Namespace::parse("other").unwrap());
        let mut held = Vec::new();
        while let Ok(place) = shown.place(&one).await {
            held.push(place);
        }
        assert_eq!(held.len(), READS_OF_ONE);
        assert!(shown.place(&other).await.is_ok());
        held.pop();
        assert!(shown.place(&one).await.is_ok());
    }
}
