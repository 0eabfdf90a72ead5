//! Places for the lists and counts that clients ask for.
//!
//! A list may take the store as long as any statement may run, and every reader may ask for many.
//! All lists together get a part of the store's connections, and no more; those of one namespace leave
//! one to others.

use tokio::runtime::Handle;

use crate::executor::{self, Places};
use crate::model::Namespace;
use crate::observe::Overloaded;
use crate::runtime::settings::{LIST_PATIENCE, LIST_REST};

/// A place for one list. If it is dropped before the store has answered, it stays taken for a
/// while.
pub(in crate::runtime) struct Place(Option<executor::Place>);

impl Place {
    /// Waits for a place, up to a short timeout.
    pub(in crate::runtime) async fn among(
        places: &Places,
        namespace: &Namespace,
    ) -> Result<Self, Overloaded> {
        let place = places.take_within(namespace, LIST_PATIENCE).await;
        place.map(|place| Self(Some(place))).ok_or(Overloaded)
    }

    /// Frees the place at once: the store has answered, and nothing of the list goes on there.
    pub(in crate::runtime) fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let (Some(place), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move {
                tokio::time::sleep(LIST_REST).await;
                drop(place);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::settings::LISTS_AT_ONCE;

    #[tokio::test(start_paused = true)]
    async fn a_list_waits_for_a_place_and_one_left_unanswered_is_free_after_its_rest() {
        let (places, one) = (Places::new(1), Namespace::default());
        let first = Place::among(&places, &one).await.ok().unwrap();
        assert!(Place::among(&places, &one).await.is_err());
        first.answered();
        drop(Place::among(&places, &one).await.ok().unwrap());
        assert_eq!(places.free(), 0);
        assert!(Place::among(&places, &one).await.is_err());
        assert!(Place::among(&places, &one).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_of_one_namespace_leaves_a_place_to_another() {
        let places = Places::new(LISTS_AT_ONCE);
        let (one, other) = (Namespace::default(), Namespace::parse("other").unwrap());
        let mut crowd = Vec::new();
        while let Ok(place) = Place::among(&places, &one).await {
            crowd.push(place);
        }
        assert_eq!(crowd.len(), LISTS_AT_ONCE - 1);
        // They are left unanswered, and so are those that come after them.
        drop(crowd);
        assert!(Place::among(&places, &one).await.is_err());
        assert!(Place::among(&places, &other).await.is_ok());
    }
}
