//! Audit entries on their way to the store, counted by what is alike.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::types::AuditEvent;
use crate::model::Timestamp;

/// What is alike: who, what, and about what.
pub(super) type Alike = (String, String, String, String);

/// Entries on their way to the store.
#[derive(Debug, Default)]
pub(super) struct AuditBook(Mutex<HashMap<Alike, Counted>>);

#[derive(Debug, Clone)]
pub(super) struct Counted {
    pub(super) id: String,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) times: u64,
    pub(super) event: AuditEvent,
    pub(super) written: bool,
}

impl AuditBook {
    /// Does something with the entries.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut HashMap<Alike, Counted>) -> T) -> T {
        // A panic while it was held cannot leave a map of counts half changed.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
