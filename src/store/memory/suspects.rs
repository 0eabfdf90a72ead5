//! What is known against threads that were lost with their replicas.

use async_trait::async_trait;

use crate::model::{Incarnation, ThreadId, Timestamp};
use crate::store::{Death, Result, SuspectRow, Suspects};

use super::MemoryStore;

#[async_trait]
impl Suspects for MemoryStore {
    async fn suspects(&self, threads: &[ThreadId]) -> Result<Vec<SuspectRow>> {
        let state = self.state();
        Ok(threads.iter().filter_map(|id| state.suspects.get(id)).cloned().collect())
    }

    async fn suspects_of(&self, incarnation: Incarnation) -> Result<Vec<SuspectRow>> {
        let state = self.state();
        let of = |row: &&SuspectRow| [row.lost_with, row.exposed_to].contains(&incarnation);
        Ok(state.suspects.values().filter(of).cloned().collect())
    }

    async fn keep_suspects(&self, rows: &[SuspectRow]) -> Result<()> {
        let mut state = self.state();
        for row in rows {
            if state.threads.contains_key(&row.thread_id) {
                state.suspects.insert(row.thread_id.clone(), row.clone());
            }
        }
        Ok(())
    }

    async fn forget_suspects(&self, threads: &[ThreadId]) -> Result<()> {
        let mut state = self.state();
        for id in threads {
            state.suspects.remove(id);
        }
        Ok(())
    }

    async fn deaths(&self, since: Timestamp) -> Result<Vec<Death>> {
        let (state, now) = (self.state(), self.clock.monotonic());
        let seen = state.seen.iter().filter(|(me, at)| **at >= since && !state.is_alive(**me, now));
        Ok(seen.map(|(me, at)| Death { incarnation: *me, seen_at: *at }).collect())
    }
}
