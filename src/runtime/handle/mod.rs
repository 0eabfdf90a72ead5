//! What a face (HTTP, MCP, dashboard) can ask of the runtime.

mod error;
mod types;

use std::time::Duration;

use tokio::sync::broadcast;

use crate::definition::Plan;
use crate::machine::StatusDocument;
use crate::model::{Fault, Json, Pointer, Seq, ThreadId};

pub use error::RuntimeError;
pub use types::*;

/// The runtime, as faces see it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {}

impl Handle {
    /// Accepts a workflow, or answers for the thread that exists already (CONTRACT 3). When this
    /// returns, the thread is durable.
    pub async fn invoke(&self, invoke: Invoke) -> Result<Invoked, RuntimeError> {
        unimplemented!()
    }

    /// The status document of a thread, now or as it was after event `at`.
    pub async fn status(
        &self,
        thread: &ThreadId,
        at: Option<Seq>,
    ) -> Result<StatusDocument, RuntimeError> {
        unimplemented!()
    }

    /// Waits until the thread has ended or `limit` has passed; `true` if it has ended.
    pub async fn wait_for_end(
        &self,
        thread: &ThreadId,
        limit: Duration,
    ) -> Result<bool, RuntimeError> {
        unimplemented!()
    }

    /// Events after `after`, in order, at most `limit`, as their exact bytes, with the head of
    /// the journal at that moment.
    pub async fn events(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<EventPage, RuntimeError> {
        unimplemented!()
    }

    /// Follows the head of a thread's journal. Subscribe first, then read, then wait.
    pub fn follow(&self, thread: &ThreadId) -> Follow {
        unimplemented!()
    }

    /// Events of all threads as this replica learns of them; a reader that lags misses some.
    pub fn live(&self) -> broadcast::Receiver<LiveEvent> {
        unimplemented!()
    }

    /// One thread without its steps.
    pub async fn thread(&self, thread: &ThreadId) -> Result<ThreadItem, RuntimeError> {
        unimplemented!()
    }

    /// Threads, newest first.
    pub async fn threads(&self, query: ThreadQuery) -> Result<Page<ThreadItem>, RuntimeError> {
        unimplemented!()
    }

    /// Deletes a thread that has ended; `if_match` as in [`Control`].
    pub async fn delete(
        &self,
        thread: &ThreadId,
        if_match: Option<Seq>,
    ) -> Result<(), RuntimeError> {
        unimplemented!()
    }

    /// Continues a failed, aborted or paused thread.
    pub async fn resume(
        &self,
        thread: &ThreadId,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        unimplemented!()
    }

    /// Stops a thread for good, cancelling its running attempts.
    pub async fn abort(
        &self,
        thread: &ThreadId,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        unimplemented!()
    }

    /// The points a thread can be continued or forked from, newest first.
    pub async fn checkpoints(
        &self,
        thread: &ThreadId,
        query: CheckpointQuery,
    ) -> Result<Page<Checkpoint>, RuntimeError> {
        unimplemented!()
    }

    /// Active threads, their progress, which look stuck and why.
    pub async fn monitor(&self, limit: usize) -> Result<Monitor, RuntimeError> {
        unimplemented!()
    }

    /// Checks a workflow (and an input, if one is given) without running or storing anything.
    /// Pointers of faults start at `at` for the workflow, `/input` for the input.
    pub fn validate(
        &self,
        workflow: &Json,
        input: Option<&Json>,
        at: &Pointer,
    ) -> Result<std::sync::Arc<Plan>, Vec<Fault>> {
        unimplemented!()
    }

    /// Stores a workflow as the next version of its name; the same text again changes nothing.
    pub async fn save_workflow(
        &self,
        workflow: &Json,
    ) -> Result<(StoredWorkflow, bool), RuntimeError> {
        unimplemented!()
    }

    /// A stored workflow: `version` or the newest.
    pub async fn workflow(
        &self,
        name: &str,
        version: Option<u32>,
    ) -> Result<StoredWorkflow, RuntimeError> {
        unimplemented!()
    }

    /// Stored workflows by name, newest version of each.
    pub async fn workflows(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<StoredWorkflow>, RuntimeError> {
        unimplemented!()
    }

    /// Whether this replica can do its work now (readiness).
    pub fn ready(&self) -> bool {
        unimplemented!()
    }

    /// The whole health report.
    pub async fn health(&self) -> HealthReport {
        unimplemented!()
    }

    /// The state of the store, as `/health/checkpointer` shows it.
    pub async fn store_health(&self) -> StoreHealth {
        unimplemented!()
    }

    /// The key that signs stream tokens: the same on every replica and after every restart.
    pub async fn token_key(&self) -> Result<[u8; 32], RuntimeError> {
        unimplemented!()
    }

    /// Resolves when the server begins to shut down: open streams must end.
    pub async fn shutting_down(&self) {
        unimplemented!()
    }
}

/// Follows the head of one thread's journal; see [`Handle::follow`].
#[derive(Debug)]
pub struct Follow {}

impl Follow {
    /// Resolves with the head once it is beyond `seen`.
    pub async fn beyond(&mut self, seen: Seq) -> Seq {
        unimplemented!()
    }
}
