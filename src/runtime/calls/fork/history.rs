//! The history of a thread, read and rewritten as that of another.
//!
//! It is read page by page and bounded as a whole; nothing unreadable is guessed. Called by
//! [`super`] alone.

use crate::machine::ThreadState;
use crate::model::{
    Event, EventBody, EventFault, ForkedFrom, Seq, ThreadId, ThreadStatus, Timestamp,
};
use crate::runtime::calls::interventions;
use crate::runtime::calls::patience::persistently;
use crate::runtime::core::Core;
use crate::runtime::drive::commit::{labels, records, summary};
use crate::runtime::drive::load::{LoadError, follow, plan};
use crate::runtime::settings::LOAD_PAGE;
use crate::runtime::types::RuntimeError;
use crate::store::{Disposition, FORK_LABEL, IdempotencyKey, Records, Side, Start};

/// The longest history that a fork copies, in bytes of events. It is written with one statement,
/// which has to end within the 10 s that a statement may take, also on a slow disk.
const MAX_HISTORY_BYTES: usize = 32 << 20;
/// About how large the journal rows of a history are, in bytes: a read of the journal takes whole
/// rows, and should not cost much more than it asks for.
const ROW_BYTES: usize = 1 << 20;

/// The facts about a fork that are not in its history.
pub(in crate::runtime) struct Begun<'a> {
    /// The thread it is forked from.
    pub(in crate::runtime) origin: &'a ThreadId,
    /// The version of its workflow, if that is a stored one.
    pub(in crate::runtime) workflow_version: Option<u32>,
    /// The hash of the request.
    pub(in crate::runtime) request: &'a str,
    /// The idempotency key, which makes repeats of the request one thread.
    pub(in crate::runtime) key: Option<String>,
}

/// The history of another thread, as that of a new one.
pub(in crate::runtime) struct History {
    pub(in crate::runtime) state: ThreadState,
    rows: Vec<Records>,
    /// The next row, and its bytes so far.
    open: (Vec<String>, usize),
    first: Seq,
    bytes: usize,
    /// Notices of the fork's own events.
    notices: Vec<Side>,
}

impl History {
    /// Reads the events up to the fork's point and folds them.
    pub(in crate::runtime) async fn read(
        core: &Core,
        thread: &ThreadId,
        from: ForkedFrom,
    ) -> Result<Self, RuntimeError> {
        let (origin, until) = (from.thread_id.clone(), from.seq);
        let mut from = Some(from);
        let mut history: Option<Self> = None;
        let mut after = 0;
        while after < until {
            let left = usize::try_from(until - after).unwrap_or(LOAD_PAGE).min(LOAD_PAGE);
            let look = || async { Ok(core.store().read(&origin, after, left).await?) };
            let page = persistently(core, look).await?;
            // A missing page means that the thread was deleted meanwhile.
            after = page.last().ok_or(RuntimeError::ThreadNotFound)?.last();
            for text in page.iter().flat_map(|records| &records.events) {
                let event = Event::decode(text).map_err(LoadError::from)?;
                let body = event.body.moved(&origin, thread.text());
                let event = Event { body, ..event };
                match &mut history {
                    Some(history) => history.take(&event)?,
                    none => *none = Some(Self::begin(core, thread, event, from.take()).await?),
                }
            }
        }
        let mut history = history.ok_or(RuntimeError::ThreadNotFound)?;
        history.state.validate().map_err(LoadError::from)?;
        history.close();
        Ok(history)
    }

    const fn of(state: ThreadState) -> Self {
        Self {
            state,
            rows: Vec::new(),
            open: (Vec::new(), 0),
            first: 1,
            bytes: 0,
            notices: Vec::new(),
        }
    }

    async fn begin(
        core: &Core,
        thread: &ThreadId,
        event: Event,
        from: Option<ForkedFrom>,
    ) -> Result<Self, RuntimeError> {
        let fault = || EventFault::Malformed("the first event is no workflow_start".to_owned());
        let fault = || RuntimeError::from(LoadError::from(fault()));
        let EventBody::WorkflowStart(mut start) = event.body else { return Err(fault()) };
        start.forked_from = from;
        let hash = start.workflow.hash.clone();
        let namespace = thread.namespace();
        let plan =
            persistently(core, || async { Ok(plan(core, &namespace, &hash).await?) }).await?;
        let event = Event { body: EventBody::WorkflowStart(start), ..event };
        let state = ThreadState::first(thread.clone(), plan, &event).ok_or_else(fault)?;
        let mut history = Self::of(state);
        history.keep(&event)?;
        Ok(history)
    }

    /// Folds the next event in.
    fn take(&mut self, event: &Event) -> Result<(), RuntimeError> {
        follow(&mut self.state, event)?;
        self.keep(event)
    }

    fn keep(&mut self, event: &Event) -> Result<(), RuntimeError> {
        let text = event.encode(&self.state.thread_id);
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > MAX_HISTORY_BYTES {
            return Err(RuntimeError::HistoryTooLarge { limit: MAX_HISTORY_BYTES });
        }
        self.open.1 = self.open.1.saturating_add(text.len());
        self.open.0.push(text);
        if self.open.1 >= ROW_BYTES || self.open.0.len() >= LOAD_PAGE {
            self.close();
        }
        Ok(())
    }

    /// Ends a row with the last event that was folded in.
    fn close(&mut self) {
        let (events, _) = std::mem::take(&mut self.open);
        if !events.is_empty() {
            self.rows.push(Records { first: self.first, events, at: self.state.updated_at });
            self.first = self.state.last_seq + 1;
        }
    }

    /// Adds the fork's own events as a row of their own, the last one: its time is the fork's
    /// creation time.
    pub(in crate::runtime) fn add_own(&mut self, core: &Core, events: &[Event]) {
        self.rows.extend(records(&self.state.thread_id, events));
        self.notices = core.notices.wanted((&self.state.thread_id, &self.state.plan.name), events);
    }

    /// Returns the write that makes the fork.
    pub(in crate::runtime) fn into_start(
        self,
        core: &Core,
        begun: Begun<'_>,
    ) -> Result<Start, RuntimeError> {
        let Begun { origin, workflow_version, request, key } = begun;
        let Self { state, rows, notices, .. } = self;
        let plan = &state.plan;
        let mut rows = rows.into_iter();
        let mut labels = labels(&state.metadata);
        labels.push((FORK_LABEL.to_owned(), origin.text().to_owned()));
        let wake_at: Option<Timestamp> = match state.status {
            ThreadStatus::Paused => state.next_wake(),
            ThreadStatus::Queued
            | ThreadStatus::Running
            | ThreadStatus::Compensating
            | ThreadStatus::Completed
            | ThreadStatus::Failed
            | ThreadStatus::Aborted => Some(core.parts.clock.now()),
        };
        Ok(Start {
            thread_id: state.thread_id.clone(),
            workflow: plan.name.clone(),
            workflow_version,
            definition: plan.hash.clone(),
            definition_text: (!core.plans.is_stored(&plan.hash)).then(|| plan.text.clone()),
            request_hash: request.to_owned(),
            metadata: state.metadata.clone(),
            labels,
            idempotency: key.map(|key| IdempotencyKey { key, request_hash: request.to_owned() }),
            records: rows.next().ok_or(RuntimeError::Internal)?,
            more: rows.collect(),
            summary: summary(&state),
            disposition: Disposition::Release { wake_at },
            sides: interventions::all(&state).map(Side::Index).chain(notices).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::definition::Plan;
    use crate::machine::{DecisionContext, start};
    use crate::model::{Json, Pointer, Timeouts, WorkflowRef, WorkflowStart};

    /// Returns a thread that has just begun, and its first event with an input of so many bytes.
    fn begun(bytes: usize) -> (ThreadState, Event) {
        let workflow = r#"{"name":"w","steps":[{"id":"a","kind":"sleep","with":{"for":1}}]}"#;
        let plan = Plan::parse(&Json::parse(workflow).unwrap(), &Pointer::root()).unwrap();
        let body = WorkflowStart {
            workflow: WorkflowRef { name: "w".to_owned(), version: None, hash: plan.hash.clone() },
            input: Json::string(&"x".repeat(bytes)),
            metadata: Json::parse("{}").unwrap(),
            by: "tests".to_owned(),
            queue: None,
            priority: None,
            traceparent: None,
            deadline: None,
            forked_from: None,
        };
        let now = Timestamp::from_millis(1);
        let timeouts = Timeouts::AS_WRITTEN;
        let context = DecisionContext {
            now,
            unit: 0.0,
            max_event: 1 << 20,
            max_thread: 1 << 30,
            may_start: true,
            timeouts,
        };
        start(ThreadId::parse("t").unwrap(), Arc::new(plan), body, context).unwrap()
    }

    #[test]
    fn a_history_is_kept_in_rows_of_bounded_size() {
        let (state, event) = begun(400_000);
        let mut history = History::of(state);
        for seq in 1..=7 {
            history.state.last_seq = seq;
            history.keep(&event).unwrap();
        }
        history.close();
        let rows: Vec<_> = history.rows.iter().map(|row| (row.first, row.last())).collect();
        assert_eq!(rows, [(1, 3), (4, 6), (7, 7)]);
    }

    #[test]
    fn a_history_that_is_too_long_is_refused() {
        let (state, event) = begun(1_000);
        let mut history = History { bytes: MAX_HISTORY_BYTES - 1_500, ..History::of(state) };
        assert_eq!(history.keep(&event), Ok(()));
        let limit = MAX_HISTORY_BYTES;
        assert_eq!(history.keep(&event), Err(RuntimeError::HistoryTooLarge { limit }));
    }
}
