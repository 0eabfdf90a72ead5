//! The store itself: its state behind one mutex, and its clock.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use crate::model::{Clock, lock};
use crate::store::{Hints, Presence, Result, Store, StoreInfo};

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
        lock(&self.state)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn info(&self) -> StoreInfo {
        StoreInfo { backend: "memory", durable: false, writers: 1 }
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    async fn shared_secret(&self, name: &str, candidate: [u8; 32]) -> Result<[u8; 32]> {
        Ok(*self.state().secrets.entry(name.to_owned()).or_insert(candidate))
    }

    async fn close(&self) {}
}

impl Presence for MemoryStore {}

impl Hints for MemoryStore {}
