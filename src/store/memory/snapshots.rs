//! Snapshots of threads.

use async_trait::async_trait;

use crate::model::{Seq, ThreadId};
use crate::store::{Result, SNAPSHOTS_KEPT, Snapshot, Snapshots};

use super::MemoryStore;

#[async_trait]
impl Snapshots for MemoryStore {
    async fn save_snapshot(&self, snapshot: &Snapshot) -> Result<()> {
        let mut state = self.state();
        let Some(thread) = state.threads.get_mut(&snapshot.thread_id) else { return Ok(()) };
        thread.snapshots.insert(snapshot.seq, snapshot.clone());
        while thread.snapshots.len() > SNAPSHOTS_KEPT {
            thread.snapshots.pop_first();
        }
        Ok(())
    }

    async fn snapshot(&self, thread: &ThreadId, until: Option<Seq>) -> Result<Option<Snapshot>> {
        let state = self.state();
        let Some(thread) = state.threads.get(thread) else { return Ok(None) };
        let newest = thread.snapshots.range(..=until.unwrap_or(Seq::MAX)).next_back();
        Ok(newest.map(|(_, found)| found.clone()))
    }
}
