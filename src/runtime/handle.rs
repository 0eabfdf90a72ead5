//! The calls that faces (HTTP, dashboard) make to the runtime. Most forward to a function in
//! another file.

#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use super::calls::{
    audit as audit_list, checkpoints, control, diagnostics as bundle, diff as compare, explain,
    fork, health, interventions, invoke, monitor, query, stats, storage, workflows,
};
use super::claim::recoveries;
use super::drive::snapshots;
use super::feed::shared;
use super::notices;
use crate::contract::{
    AbortRequest, AuditItem, AuditQuery, Checkpoint, CheckpointQuery, Diagnostics, EditRequest,
    Explanation, ForkRequest, HealthReport, Intervention, InterventionQuery, Invoked, Monitor,
    Notification, NotificationPatch, NotificationRequest, NotificationTest, Page, ReasonRequest,
    RecoveryItem, ResolveRequest, ResumeRequest, SkipRequest, Stats, StatusDocument, StoreHealth,
    StoredName, StoredWorkflow, ThreadDiff, ThreadItem, ThreadQuery, WorkflowCheck,
};
use crate::definition::Plan;
use crate::model::{Epoch, Json, Namespace, Seq, StepId, ThreadId};
use crate::observe::{Memory, Reservation};
use crate::runtime::core::Core;
use crate::runtime::feed::heads::Follow;
use crate::runtime::feed::live::LiveEvents;
use crate::runtime::types::{
    AuditEvent, Control, EventPage, HeldEvent, Invoke, RawEvent, RuntimeError, Signal, Unready,
};

/// The runtime as faces see it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    core: Arc<Core>,
}

impl Handle {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Runs a face's work on the runtime that drives threads. Client text may block a worker there,
    /// never one that serves connections. `None` if that runtime has ended.
    pub async fn apart<T: Send + 'static>(
        &self,
        name: Arc<str>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.core.apart(name, work).await
    }

    /// Starts a thread, or reports the one that exists. The thread is durable when this returns.
    pub async fn invoke(&self, invoke: Invoke) -> Result<Invoked, RuntimeError> {
        invoke::invoke(&self.core, invoke).await
    }

    /// Returns the status document of a thread, now or as it was after event `at`.
    pub async fn status(
        &self,
        thread: &ThreadId,
        at: Option<Seq>,
    ) -> Result<StatusDocument, RuntimeError> {
        Ok(query::status(&self.core, thread, at).await?.0)
    }

    /// Returns a thread's status document with the memory that it was counted with, for a caller
    /// that waits for something else before the document is gone.
    pub async fn status_held(
        &self,
        thread: &ThreadId,
    ) -> Result<(StatusDocument, Reservation), RuntimeError> {
        query::status(&self.core, thread, None).await
    }

    /// Waits until the thread has ended or `limit` has passed; returns whether it has ended.
    pub async fn wait_for_end(
        &self,
        thread: &ThreadId,
        limit: Duration,
    ) -> Result<bool, RuntimeError> {
        query::wait_for_end(&self.core, thread, limit).await
    }

    /// Waits until the thread has event `seq`, has ended without it, or `limit` has passed.
    pub async fn wait_for_event(
        &self,
        thread: &ThreadId,
        seq: Seq,
        limit: Duration,
    ) -> Result<(), RuntimeError> {
        query::wait_for_event(&self.core, thread, seq, limit).await
    }

    /// Returns at most `limit` events after `after`, in order and byte for byte, with the current
    /// head of the journal.
    pub async fn events(
        &self,
        thread: &ThreadId,
        after: Seq,
        limit: usize,
    ) -> Result<EventPage, RuntimeError> {
        query::events(&self.core, thread, after, limit).await
    }

    /// Follows the head of a thread's journal. Subscribe first, then read, then wait.
    pub fn follow(&self, thread: &ThreadId) -> Follow {
        self.core.follow(thread)
    }

    /// Converts an event for a reader that holds it until it is sent. A large one is in memory
    /// once, however many readers hold it.
    pub fn share(&self, thread: &ThreadId, event: RawEvent) -> Result<HeldEvent, RuntimeError> {
        if event.json.as_str().len() < shared::LARGE {
            return Ok(HeldEvent::Own(event));
        }
        let shared = self.core.shared.share(&self.core.parts.memory, thread, event);
        Ok(HeldEvent::Shared(shared?))
    }

    /// Returns the memory budget.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.core.parts.memory
    }

    /// Follows the events that this replica writes, of all threads and namespaces; a reader that
    /// lags misses some.
    pub fn live(&self, namespace: &Namespace) -> LiveEvents {
        self.core.feed.live(namespace)
    }

    /// Returns one thread without its steps.
    pub async fn thread(&self, thread: &ThreadId) -> Result<ThreadItem, RuntimeError> {
        query::thread(&self.core, thread).await
    }

    /// Returns who started a thread, or forked it if it is a fork.
    pub async fn started_by(&self, thread: &ThreadId) -> Result<String, RuntimeError> {
        query::started_by(&self.core, thread).await
    }

    /// Lists threads, newest first.
    pub async fn threads(
        &self,
        namespace: &Namespace,
        query: ThreadQuery,
    ) -> Result<Page<ThreadItem>, RuntimeError> {
        query::threads(&self.core, namespace, query).await
    }

    /// Deletes a thread that has ended; `if_match` as in [`Control`].
    pub async fn delete(
        &self,
        thread: &ThreadId,
        if_match: Option<Seq>,
    ) -> Result<(), RuntimeError> {
        control::delete(&self.core, thread, if_match).await
    }

    /// Pauses a thread: running attempts may end, and nothing more is started.
    pub async fn pause(
        &self,
        thread: &ThreadId,
        request: ReasonRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::pause(&self.core, thread, request, control).await
    }

    /// Continues a failed, aborted or paused thread.
    pub async fn resume(
        &self,
        thread: &ThreadId,
        request: ResumeRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::resume(&self.core, thread, request, control).await
    }

    /// Makes a new thread that begins with the history of another up to one of its events. The new
    /// thread is durable when this returns; the other one is only read.
    pub async fn fork(
        &self,
        thread: &ThreadId,
        request: ForkRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        fork::fork(&self.core, thread, request, control).await
    }

    /// Compares two threads by their events and steps.
    pub async fn diff(&self, a: &ThreadId, b: &ThreadId) -> Result<ThreadDiff, RuntimeError> {
        compare::diff(&self.core, a, b).await
    }

    /// Starts the next attempt of a step now.
    pub async fn retry_step(
        &self,
        thread: &ThreadId,
        step: StepId,
        request: ReasonRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::retry_step(&self.core, thread, step, (request, control)).await
    }

    /// Skips a step.
    pub async fn skip_step(
        &self,
        thread: &ThreadId,
        step: StepId,
        request: SkipRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::skip_step(&self.core, thread, step, (request, control)).await
    }

    /// Replaces the output of a completed step.
    pub async fn edit_step(
        &self,
        thread: &ThreadId,
        step: StepId,
        request: EditRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::edit_step(&self.core, thread, step, (request, control)).await
    }

    /// Sends a thread a signal.
    pub async fn signal(
        &self,
        thread: &ThreadId,
        signal: Signal,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::signal(&self.core, thread, signal, control).await
    }

    /// Decides an intervention of a namespace.
    pub async fn resolve(
        &self,
        id: (&Namespace, String),
        request: ResolveRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::resolve(&self.core, id, request, control).await
    }

    /// Aborts a thread for good, cancelling its attempts under way. If the thread has ended
    /// already, compensates the remaining completed steps, if that is requested.
    pub async fn abort(
        &self,
        thread: &ThreadId,
        request: AbortRequest,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::abort(&self.core, thread, request, control).await
    }

    /// Lists the points that a thread can be continued or forked from, newest first.
    pub async fn checkpoints(
        &self,
        thread: &ThreadId,
        query: CheckpointQuery,
    ) -> Result<Page<Checkpoint>, RuntimeError> {
        checkpoints::checkpoints(&self.core, thread, query).await
    }

    /// Returns the counts of snapshots since this process started.
    pub fn snapshot_counts(&self) -> snapshots::SnapshotCounts {
        snapshots::counts(&self.core.parts.metrics)
    }

    /// Lists the recoveries of a thread, newest first.
    pub async fn recoveries(
        &self,
        thread: &ThreadId,
        limit: usize,
        cursor: Option<Epoch>,
    ) -> Result<Page<RecoveryItem>, RuntimeError> {
        recoveries::list(&self.core, thread, (limit, cursor)).await
    }

    /// Lists interventions, open or resolved, newest first.
    pub async fn interventions(
        &self,
        namespace: &Namespace,
        query: InterventionQuery,
    ) -> Result<Page<Intervention>, RuntimeError> {
        interventions::list(&self.core, namespace, query).await
    }

    /// Subscribes to events; only the answer shows the secret. `by` is the API key's name.
    pub async fn create_notification(
        &self,
        namespace: &Namespace,
        request: NotificationRequest,
        by: String,
    ) -> Result<Notification, RuntimeError> {
        notices::create(&self.core, namespace, request, by).await
    }

    /// Lists subscriptions, newest first.
    pub async fn notifications(
        &self,
        namespace: &Namespace,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Notification>, RuntimeError> {
        notices::list(&self.core, namespace, limit, cursor).await
    }

    /// Returns one subscription with the state of its messages.
    pub async fn notification(&self, id: (&Namespace, &str)) -> Result<Notification, RuntimeError> {
        notices::get(&self.core, id).await
    }

    /// Changes a subscription.
    pub async fn change_notification(
        &self,
        id: (&Namespace, &str),
        patch: NotificationPatch,
        by: &str,
    ) -> Result<Notification, RuntimeError> {
        notices::update(&self.core, id, patch, by).await
    }

    /// Deletes a subscription and its unsent messages.
    pub async fn delete_notification(&self, id: (&Namespace, &str)) -> Result<(), RuntimeError> {
        notices::delete(&self.core, id).await
    }

    /// Sends a test message, once.
    pub async fn test_notification(
        &self,
        id: (&Namespace, &str),
        by: &str,
    ) -> Result<NotificationTest, RuntimeError> {
        notices::test(&self.core, id, by).await
    }

    /// Adds an event that may be frequent to the audit list, which counts such events by the
    /// minute.
    pub fn note_audit(&self, event: AuditEvent) {
        audit_list::note(&self.core, event);
    }

    /// Adds a change to the audit list; it is durable when this returns, if the store answers.
    pub async fn record_audit(&self, event: AuditEvent) {
        audit_list::record(&self.core, event).await;
    }

    /// Lists audit entries, newest first.
    pub async fn audit(
        &self,
        namespace: &Namespace,
        query: AuditQuery,
    ) -> Result<Page<AuditItem>, RuntimeError> {
        audit_list::list(&self.core, namespace, query).await
    }

    /// Returns the statistics of a namespace over the last 24 hours and all replicas.
    pub async fn stats(&self, namespace: &Namespace) -> Result<Stats, RuntimeError> {
        stats::stats(&self.core, namespace).await
    }

    /// Gathers everything about a thread into one bundle, for support.
    pub async fn diagnostics(&self, thread: &ThreadId) -> Result<Diagnostics, RuntimeError> {
        bundle::diagnostics(&self.core, thread).await
    }

    /// Explains why a thread does not move: what it waits for, since when, and what ends the wait.
    pub async fn explain(&self, thread: &ThreadId) -> Result<Explanation, RuntimeError> {
        explain::explain(&self.core, thread).await
    }

    /// Returns a namespace's active threads, their progress, and which look stuck and why.
    pub async fn monitor(
        &self,
        namespace: &Namespace,
        limit: usize,
    ) -> Result<Monitor, RuntimeError> {
        monitor::monitor(&self.core, namespace, limit).await
    }

    /// Checks a workflow (and an input, if one is given) for a namespace, without running or
    /// storing anything.
    pub async fn validate(
        &self,
        namespace: &Namespace,
        check: &WorkflowCheck,
    ) -> Result<Arc<Plan>, RuntimeError> {
        workflows::validate(&self.core, namespace, check).await
    }

    /// Stores a workflow as the next version of its name; the same text again changes nothing.
    pub async fn save_workflow(
        &self,
        namespace: &Namespace,
        workflow: &Json,
    ) -> Result<(StoredWorkflow, bool), RuntimeError> {
        workflows::save(&self.core, namespace, workflow).await
    }

    /// Returns a stored workflow.
    pub async fn workflow(
        &self,
        namespace: &Namespace,
        named: &StoredName,
    ) -> Result<StoredWorkflow, RuntimeError> {
        workflows::get(&self.core, namespace, named).await
    }

    /// Lists stored workflows by name, with the newest version of each.
    pub async fn workflows(
        &self,
        namespace: &Namespace,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<StoredWorkflow>, RuntimeError> {
        workflows::list(&self.core, namespace, cursor, limit).await
    }

    /// Returns whether this replica can work now (readiness).
    pub fn ready(&self) -> Result<(), Unready> {
        storage::unready(&self.core).map_or(Ok(()), Err)
    }

    /// Makes the whole health report, with the circuits of a namespace.
    pub async fn health(&self, namespace: &Namespace) -> HealthReport {
        health::report(&self.core, namespace).await
    }

    /// Returns the state of the store, as `/health/checkpointer` shows it.
    pub async fn store_health(&self) -> StoreHealth {
        storage::health(&self.core).await
    }

    /// Returns the key that signs stream tokens: the same on every replica and after every restart.
    pub async fn token_key(&self) -> Result<[u8; 32], RuntimeError> {
        query::token_key(&self.core).await
    }

    /// Makes the replica not ready, and its clients close their connections: it shuts down soon.
    pub fn leave(&self) {
        self.core.leaving.cancel();
    }

    /// Returns whether the replica shuts down soon, or does so already.
    pub fn is_leaving(&self) -> bool {
        self.core.leaving.is_cancelled() || self.core.draining.is_cancelled()
    }

    /// Resolves when the server begins to shut down: open streams must end.
    pub async fn shutting_down(&self) {
        self.core.draining.cancelled().await;
    }
}
