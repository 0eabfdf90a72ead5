//! The store itself: its state behind one mutex, and its clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::Clock;

use super::state::State;

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    pub(super) clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

impl MemoryStore {
    /// Makes an empty store that takes its time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::new(State::default()) }
    }

    /// The state; a panic elsewhere cannot have left it half changed, as no code below panics.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
