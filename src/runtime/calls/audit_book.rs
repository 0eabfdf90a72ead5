//! Audit entries on their way to the store, with like events counted together.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::model::{Timestamp, lock};
use crate::runtime::types::AuditEvent;

/// The key of like events: namespace, actor, action and object. The id takes the object's place in
/// an entry of a change that is written late.
pub(in crate::runtime) type Alike = (String, String, String, String);

/// Entries on their way to the store.
#[derive(Debug, Default)]
pub(in crate::runtime) struct AuditBook(Mutex<HashMap<Alike, Counted>>);

#[derive(Debug, Clone)]
pub(in crate::runtime) struct Counted {
    pub(in crate::runtime) id: String,
    pub(in crate::runtime) first: Timestamp,
    pub(in crate::runtime) last: Timestamp,
    pub(in crate::runtime) times: u64,
    pub(in crate::runtime) event: AuditEvent,
    pub(in crate::runtime) written: bool,
}

impl AuditBook {
    /// Gives `work` access to the entries.
    pub(in crate::runtime) fn with<T>(
        &self,
        work: impl FnOnce(&mut HashMap<Alike, Counted>) -> T,
    ) -> T {
        // A panic while it was held cannot leave a map of counts half changed.
        work(&mut lock(&self.0))
    }
}
