//! What a face (HTTP, dashboard) can ask of the runtime. Each call is a line here and a function in a
//! file of its own.

#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use super::calls::{
    audit as audit_list, checkpoints, control, diagnostics as bundle, diff as compare, explain,
    fork, health, interventions, invoke, monitor, query, stats, workflows,
};
use super::claim::recoveries;
use super::drive::snapshots;
use super::feed::shared;
use super::notices;
use crate::definition::Plan;
use crate::model::{Epoch, Json, Namespace, Pointer, Seq, StepId, ThreadId};
use crate::observe::Memory;
use crate::runtime::core::Core;
use crate::runtime::feed::heads::Follow;
use crate::runtime::feed::live::LiveEvents;
use crate::runtime::types::{
    AbortHow, AuditEvent, AuditItem, AuditQuery, Checkpoint, CheckpointQuery, Control, Diagnostics,
    EventPage, Explanation, ForkHow, HealthReport, HeldEvent, Intervention, InterventionQuery,
    Invoke, Invoked, Monitor, Notification, NotificationChange, NotificationTest, Page, RawEvent,
    RecoveryItem, ResumeHow, RuntimeError, Stats, StatusDocument, StepChange, StoreHealth,
    StoredWorkflow, ThreadDiff, ThreadItem, ThreadQuery,
};

/// The runtime, as faces see it; cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    core: Arc<Core>,
}

impl Handle {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// Does what a face asks for where threads are driven: what clients wrote may keep a worker from
    /// going on there, and never one that serves connections. `None` if that runtime has ended.
    pub async fn apart<T: Send + 'static>(
        &self,
        name: Arc<str>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.core.apart(name, work).await
    }

    /// Accepts a workflow, or answers for the thread that exists already. When this
    /// returns, the thread is durable.
    pub async fn invoke(&self, invoke: Invoke) -> Result<Invoked, RuntimeError> {
        invoke::invoke(&self.core, invoke).await
    }

    /// The status document of a thread, now or as it was after event `at`.
    pub async fn status(
        &self,
        thread: &ThreadId,
        at: Option<Seq>,
    ) -> Result<StatusDocument, RuntimeError> {
        query::status(&self.core, thread, at).await
    }

    /// Waits until the thread has ended or `limit` has passed; `true` if it has ended.
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

    /// Events after `after`, in order, at most `limit`, as their exact bytes, with the head of
    /// the journal at that moment.
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

    /// What a reader holds of an event until it is sent: a large one is in memory once, however many
    /// hold it.
    pub fn share(&self, thread: &ThreadId, event: RawEvent) -> Result<HeldEvent, RuntimeError> {
        if event.json.as_str().len() < shared::LARGE {
            return Ok(HeldEvent::Own(event));
        }
        let shared = self.core.shared.share(&self.core.parts.memory, thread, event);
        Ok(HeldEvent::Shared(shared?))
    }

    /// What memory may be taken for.
    pub fn memory(&self) -> &Arc<Memory> {
        &self.core.parts.memory
    }

    /// Events of all threads of all namespaces as this replica learns of them; a reader that lags
    /// misses some.
    pub fn live(&self) -> LiveEvents {
        self.core.feed.live()
    }

    /// One thread without its steps.
    pub async fn thread(&self, thread: &ThreadId) -> Result<ThreadItem, RuntimeError> {
        query::thread(&self.core, thread).await
    }

    /// Who started a thread; of a fork, who forked it.
    pub async fn started_by(&self, thread: &ThreadId) -> Result<String, RuntimeError> {
        query::started_by(&self.core, thread).await
    }

    /// Threads, newest first.
    pub async fn threads(&self, query: ThreadQuery) -> Result<Page<ThreadItem>, RuntimeError> {
        query::threads(&self.core, query).await
    }

    /// Deletes a thread that has ended; `if_match` as in [`Control`].
    pub async fn delete(
        &self,
        thread: &ThreadId,
        if_match: Option<Seq>,
    ) -> Result<(), RuntimeError> {
        control::delete(&self.core, thread, if_match).await
    }

    /// Lets what runs of a thread end, and starts nothing more of it.
    pub async fn pause(
        &self,
        thread: &ThreadId,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::pause(&self.core, thread, control).await
    }

    /// Continues a failed, aborted or paused thread.
    pub async fn resume(
        &self,
        thread: &ThreadId,
        how: ResumeHow,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::resume(&self.core, thread, how, control).await
    }

    /// Makes a new thread that begins with the history of another up to an event of it. When this
    /// returns, the new thread is durable; the other one was only read.
    pub async fn fork(
        &self,
        thread: &ThreadId,
        how: ForkHow,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        fork::fork(&self.core, thread, how, control).await
    }

    /// Compares two threads by what happened in them.
    pub async fn diff(&self, a: &ThreadId, b: &ThreadId) -> Result<ThreadDiff, RuntimeError> {
        compare::diff(&self.core, a, b).await
    }

    /// Retries, skips or edits one step.
    pub async fn change_step(
        &self,
        thread: &ThreadId,
        change: (StepId, StepChange),
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::change_step(&self.core, thread, change, control).await
    }

    /// Sends a thread a signal: its name and payload.
    pub async fn signal(
        &self,
        thread: &ThreadId,
        signal: (String, Json),
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::signal(&self.core, thread, signal, control).await
    }

    /// Decides an intervention of a namespace by a choice and, if it is bound to that, the digest of what was seen;
    /// `control.reason` is what was said about it.
    pub async fn resolve(
        &self,
        id: (&Namespace, String),
        decision: (String, Option<String>),
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::resolve(&self.core, id, decision, control).await
    }

    /// Stops a thread for good, cancelling the attempts that are under way; of one that has ended,
    /// undoes what is left to be undone, if that is asked.
    pub async fn abort(
        &self,
        thread: &ThreadId,
        how: AbortHow,
        control: Control,
    ) -> Result<Invoked, RuntimeError> {
        control::abort(&self.core, thread, how, control).await
    }

    /// The points a thread can be continued or forked from, newest first.
    pub async fn checkpoints(
        &self,
        thread: &ThreadId,
        query: CheckpointQuery,
    ) -> Result<Page<Checkpoint>, RuntimeError> {
        checkpoints::checkpoints(&self.core, thread, query).await
    }

    /// What became of snapshots since this process started.
    pub fn snapshot_counts(&self) -> snapshots::SnapshotCounts {
        snapshots::counts(&self.core.parts.metrics)
    }

    /// Attempts to recover a thread, newest first.
    pub async fn recoveries(
        &self,
        thread: &ThreadId,
        limit: usize,
        cursor: Option<Epoch>,
    ) -> Result<Page<RecoveryItem>, RuntimeError> {
        recoveries::list(&self.core, thread, (limit, cursor)).await
    }

    /// What waits, or waited, for a person, newest first.
    pub async fn interventions(
        &self,
        query: InterventionQuery,
    ) -> Result<Page<Intervention>, RuntimeError> {
        interventions::list(&self.core, query).await
    }

    /// Subscribes to events; the answer alone shows the secret. `by` is the API key's name.
    pub async fn create_notification(
        &self,
        namespace: &Namespace,
        change: NotificationChange,
        by: String,
    ) -> Result<Notification, RuntimeError> {
        notices::create(&self.core, namespace, change, by).await
    }

    /// Subscriptions, newest first.
    pub async fn notifications(
        &self,
        namespace: &Namespace,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<Notification>, RuntimeError> {
        notices::list(&self.core, namespace, limit, cursor).await
    }

    /// One subscription and what became of its messages.
    pub async fn notification(&self, id: (&Namespace, &str)) -> Result<Notification, RuntimeError> {
        notices::get(&self.core, id).await
    }

    /// Changes a subscription.
    pub async fn change_notification(
        &self,
        id: (&Namespace, &str),
        change: NotificationChange,
        by: &str,
    ) -> Result<Notification, RuntimeError> {
        notices::update(&self.core, id, change, by).await
    }

    /// Deletes a subscription with what it was not sent yet.
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

    /// Tells the audit list of what may come in any number: it is counted by the minute.
    pub fn note_audit(&self, event: AuditEvent) {
        audit_list::note(&self.core, event);
    }

    /// Tells the audit list of a change; it is durable when this returns, if the store answers.
    pub async fn record_audit(&self, event: AuditEvent) {
        audit_list::record(&self.core, event).await;
    }

    /// The audit list, newest first.
    pub async fn audit(&self, query: AuditQuery) -> Result<Page<AuditItem>, RuntimeError> {
        audit_list::list(&self.core, query).await
    }

    /// What happened in the last 24 hours in a namespace, over all replicas.
    pub async fn stats(&self, namespace: &Namespace) -> Result<Stats, RuntimeError> {
        stats::stats(&self.core, namespace).await
    }

    /// One bundle of everything about a thread, for support.
    pub async fn diagnostics(&self, thread: &ThreadId) -> Result<Diagnostics, RuntimeError> {
        bundle::diagnostics(&self.core, thread).await
    }

    /// Why a thread does not move: what it waits for, since when, and what would end that.
    pub async fn explain(&self, thread: &ThreadId) -> Result<Explanation, RuntimeError> {
        explain::explain(&self.core, thread).await
    }

    /// Active threads of a namespace, their progress, which look stuck and why.
    pub async fn monitor(
        &self,
        namespace: &Namespace,
        limit: usize,
    ) -> Result<Monitor, RuntimeError> {
        monitor::monitor(&self.core, namespace, limit).await
    }

    /// Checks a workflow (and an input, if one is given) for a namespace, without running or storing
    /// anything.
    /// Pointers of faults start at `at` for the workflow, `/input` for the input.
    pub async fn validate(
        &self,
        namespace: &Namespace,
        workflow: &Json,
        input: Option<&Json>,
        at: &Pointer,
    ) -> Result<Arc<Plan>, RuntimeError> {
        workflows::validate(&self.core, namespace, (workflow, input), at).await
    }

    /// Stores a workflow as the next version of its name; the same text again changes nothing.
    pub async fn save_workflow(
        &self,
        namespace: &Namespace,
        workflow: &Json,
    ) -> Result<(StoredWorkflow, bool), RuntimeError> {
        workflows::save(&self.core, namespace, workflow).await
    }

    /// A stored workflow: `version` or the newest.
    pub async fn workflow(
        &self,
        name: (&Namespace, &str),
        version: Option<u32>,
    ) -> Result<StoredWorkflow, RuntimeError> {
        workflows::get(&self.core, name, version).await
    }

    /// Stored workflows by name, newest version of each.
    pub async fn workflows(
        &self,
        namespace: &Namespace,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<StoredWorkflow>, RuntimeError> {
        workflows::list(&self.core, namespace, cursor, limit).await
    }

    /// Whether this replica can do its work now (readiness).
    pub fn ready(&self) -> bool {
        health::ready(&self.core)
    }

    /// The whole health report; of the circuits that workflows named, those of a namespace.
    pub async fn health(&self, namespace: &Namespace) -> HealthReport {
        health::report(&self.core, namespace).await
    }

    /// The state of the store, as `/health/checkpointer` shows it.
    pub async fn store_health(&self) -> StoreHealth {
        health::store(&self.core).await
    }

    /// The key that signs stream tokens: the same on every replica and after every restart.
    pub async fn token_key(&self) -> Result<[u8; 32], RuntimeError> {
        query::token_key(&self.core).await
    }

    /// Resolves when the server begins to shut down: open streams must end.
    pub async fn shutting_down(&self) {
        self.core.draining.cancelled().await;
    }
}
