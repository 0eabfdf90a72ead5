//! Sides: what a write changes beside the journal and the thread's row.

use crate::model::Json;

use super::InterventionRow;

/// A change that lands with the write that carries it, or not at all.
///
/// Every store has one function for each kind, which starts and appends share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// Takes a message of the thread. One that was taken before keeps its answer, and a new thread
    /// has none.
    Take {
        /// The message's key.
        key: String,
        /// Its answer.
        answer: Json,
    },
    /// Puts an intervention of the thread into the index, as it is after the write. The later one of
    /// the same id counts.
    Index(InterventionRow),
    /// Tells a subscription of the write's events. A write names it once at the most.
    Notify {
        /// The subscription's id.
        subscription: String,
    },
}
