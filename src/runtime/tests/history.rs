//! Threads with a long history, decided by the machine and written as their drivers would have.

use std::sync::Arc;

use serde_json::{Value, json};

use super::watched::Watched;
use crate::definition::Plan;
use crate::machine::{
    Actor, AttemptId, Command, DecisionContext, Report, Request, Resume, SNAPSHOT_VERSION,
    ThreadState, decide, snapshot, start,
};
use crate::model::{
    Category, Event, Failure, Json, Pointer, Seq, StepStatus, ThreadId, ThreadStatus, Timeouts,
    Timestamp, WorkflowRef, WorkflowStart,
};
use crate::runtime::drive::commit::{records, summary};
use crate::store::{
    Append, Disposition, Journal as _, Leases as _, Snapshot, SnapshotKind, Start, Write,
    WriteOutcome,
};

/// The history of a thread, with one entry for each append.
#[derive(Debug, Clone)]
pub(super) struct History {
    pub(super) appends: Vec<Vec<Event>>,
    state: ThreadState,
    context: DecisionContext,
}

impl History {
    /// Creates the history of a thread that was accepted.
    pub(super) fn new(id: &str, steps: &Value) -> Self {
        let workflow = json!({ "name": "w", "steps": steps });
        let plan = Plan::parse(&json_of(&workflow), &Pointer::root()).unwrap();
        let now = Timestamp::from_millis(1_700_000_000_000);
        let context = DecisionContext {
            now,
            unit: 0.5,
            max_event: 1 << 20,
            max_thread: 1 << 30,
            may_start: true,
            timeouts: Timeouts::AS_WRITTEN,
        };
        let body = WorkflowStart {
            workflow: WorkflowRef { name: "w".to_owned(), version: None, hash: plan.hash.clone() },
            input: json_of(&json!({ "a": 1 })),
            metadata: json_of(&json!({})),
            by: "tests".to_owned(),
            queue: None,
            priority: None,
            traceparent: None,
            deadline: None,
            forked_from: None,
        };
        let (state, first) = start(thread(id), Arc::new(plan), body, context).unwrap();
        let mut history = Self { appends: vec![vec![first]], state, context };
        history.decide(Command::Advance);
        history
    }

    /// Creates a chain of steps, each of which fails four times and then completes.
    pub(super) fn of_many_steps(id: &str, steps: usize) -> Self {
        let retry = json!({ "maxAttempts": 5, "initialInterval": 1 });
        let chain = (0..steps).map(|at| {
            let needs: Vec<String> =
                at.checked_sub(1).map(|at| format!("s{at}")).into_iter().collect();
            json!({ "id": format!("s{at}"), "kind": "http", "with": { "url": "http://h/" },
                    "dependsOn": needs, "retry": retry })
        });
        let mut history = Self::new(id, &chain.collect());
        for step in 0..steps {
            for _ in 0..4 {
                history.fail(step);
            }
            history.complete(step);
        }
        assert_eq!(history.live().status, ThreadStatus::Completed);
        history
    }

    /// Creates one step that fails until its thread has `events` events, resumed whenever a failure
    /// ends it.
    pub(super) fn of_many_retries(id: &str, events: Seq) -> Self {
        let mut history = Self::new(
            id,
            &json!([{ "id": "a", "kind": "http", "with": { "url": "http://h/" },
                     "retry": { "maxAttempts": 1000, "initialInterval": 1 } }]),
        );
        while history.live().last_seq < events {
            if history.live().status == ThreadStatus::Failed {
                history.decide(Command::Request(
                    Request::Resume(Resume::default()),
                    Actor { by: "ann".to_owned(), ..Actor::default() },
                ));
            } else {
                history.fail(0);
            }
        }
        history
    }

    /// Returns the current state.
    pub(super) const fn live(&self) -> &ThreadState {
        &self.state
    }

    /// Returns the state as it was after event `seq`.
    pub(super) fn at(&self, seq: Seq) -> ThreadState {
        let mut events = self.appends.iter().flatten().take_while(|event| event.seq <= seq);
        let (id, plan) = (self.state.thread_id.clone(), Arc::clone(&self.state.plan));
        let mut state = ThreadState::first(id, plan, events.next().unwrap()).unwrap();
        events.for_each(|event| state.apply(event));
        state
    }

    /// Returns the same history up to event `seq`.
    pub(super) fn cut(mut self, seq: Seq) -> Self {
        self.state = self.at(seq);
        self.appends.retain_mut(|events| {
            events.retain(|event| event.seq <= seq);
            !events.is_empty()
        });
        self
    }

    pub(super) fn decide(&mut self, command: Command) {
        self.context.now = Timestamp::from_millis(self.context.now.millis() + 10);
        let events = decide(&mut self.state, command, self.context).unwrap().events;
        self.appends.push(events);
    }

    pub(super) fn complete(&mut self, step: usize) {
        let attempt = self.live().steps[step].own.attempts;
        let output = json_of(&json!({ "answer": step, "text": "twenty bytes of text" }));
        self.decide(Command::Attempt {
            attempt: AttemptId::own(step, attempt),
            report: Report::Done { output, session_id: None },
        });
    }

    /// Fails the current attempt, and waits for the next one if there is one.
    pub(super) fn fail(&mut self, step: usize) {
        let attempt = self.live().steps[step].own.attempts;
        let failure = Failure::recoverable("connection_failed", Category::External, "refused");
        self.decide(Command::Attempt {
            attempt: AttemptId::own(step, attempt),
            report: Report::Failed { failure, retry_after: None },
        });
        if self.live().steps[step].status() == StepStatus::Retrying {
            let due = self.live().next_wake().unwrap();
            self.context.now = due.max(self.context.now);
            self.decide(Command::Advance);
        }
    }

    /// Writes the history; afterwards nobody drives the thread, and nothing wakes it.
    pub(super) async fn write(&self, store: &Watched) {
        let me = store.register("author", std::time::Duration::from_hours(1)).await.unwrap();
        for (at, events) in self.appends.iter().enumerate() {
            let write = if at == 0 { self.start() } else { self.append(at) };
            let outcome = store.write(me, &[write]).await.unwrap();
            assert!(matches!(outcome[0], WriteOutcome::Written { .. }), "{events:?}: {outcome:?}");
        }
    }

    /// Returns the write that makes the thread.
    pub(super) fn start(&self) -> Write {
        let ThreadState { thread_id, plan, metadata, .. } = self.live();
        Write::Start(Box::new(Start {
            thread_id: thread_id.clone(),
            workflow: "w".to_owned(),
            workflow_version: None,
            definition: plan.hash.clone(),
            definition_text: Some(plan.text.clone()),
            request_hash: String::new(),
            metadata: metadata.clone(),
            labels: Vec::new(),
            idempotency: None,
            records: records(thread_id, &self.appends[0]).unwrap(),
            more: Vec::new(),
            summary: summary(&self.at(1)),
            disposition: Disposition::Keep,
            sides: Vec::new(),
        }))
    }

    /// Returns the write of a later entry.
    pub(super) fn append(&self, at: usize) -> Write {
        let thread_id = self.live().thread_id.clone();
        let last = at + 1 == self.appends.len();
        let release = Disposition::Release { wake_at: None };
        Write::Append(Box::new(Append {
            prev: self.appends[at].first().unwrap().seq - 1,
            records: records(&thread_id, &self.appends[at]),
            thread_id,
            epoch: 1,
            summary: summary(self.live()),
            progress: true,
            disposition: if last { release } else { Disposition::Keep },
            sides: Vec::new(),
        }))
    }
}

/// Returns a good snapshot of a state.
pub(super) fn snapshot_of(state: &ThreadState) -> Snapshot {
    let (text, sha256) = snapshot::encode(state);
    Snapshot {
        thread_id: state.thread_id.clone(),
        seq: state.last_seq,
        kind: SnapshotKind::Periodic,
        version: SNAPSHOT_VERSION,
        at: state.updated_at,
        sha256,
        state: text,
    }
}

/// Returns the same snapshot with another text and its right checksum.
pub(super) fn resealed(snapshot: Snapshot, text: String) -> Snapshot {
    use sha2::{Digest, Sha256};
    let sha256 = crate::model::hex(&Sha256::digest(text.as_bytes()));
    Snapshot { sha256, state: text, ..snapshot }
}

pub(super) fn thread(id: &str) -> ThreadId {
    ThreadId::from_key(id).unwrap()
}

pub(super) fn json_of(value: &Value) -> Json {
    Json::parse(&value.to_string()).unwrap()
}
