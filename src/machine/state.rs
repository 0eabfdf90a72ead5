//! What is known of a thread: the fold of its journal.

use std::sync::Arc;

use crate::definition::{Plan, Scope, StepView};
use crate::model::{
    Event, EventBody, Failure, InterventionOpened, InterventionResolved, Json, Seq, StepId,
    StepStatus, ThreadId, ThreadStatus, Timestamp, WorkflowRef,
};

/// One step of a thread.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct StepState {
    /// Where it stands.
    pub status: StepStatus,
    /// Attempts started so far; the running one has this number.
    pub attempts: u32,
    /// Failures since the step was last set going by a start or a resume.
    pub failures: u32,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When its current attempt began.
    pub attempt_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When its last attempt that is to be made again failed.
    pub failed_at: Option<Timestamp>,
    /// When its retry is due or its wait ends.
    pub wake_at: Option<Timestamp>,
    /// Its output, once completed.
    pub output: Option<Json>,
    /// Its last failure.
    pub error: Option<Failure>,
    /// The agent session it ran in.
    pub session_id: Option<String>,
    /// Failed, and the thread went on (`continueOnError`).
    pub continued: bool,
    /// The current attempt has been warned about.
    pub warned: bool,
    /// Its condition was asked and true: it is not asked again.
    pub admitted: bool,
    /// A person has skipped it: what depends on it runs all the same.
    pub bypassed: bool,
    /// The signal it waits for.
    pub signal: Option<String>,
    /// It has used its attempts: those that count now, or its output, are those of its fallback.
    pub fallback: bool,
}

impl StepState {
    pub(super) fn new() -> Self {
        Self {
            status: StepStatus::Pending,
            attempts: 0,
            failures: 0,
            started_at: None,
            attempt_at: None,
            completed_at: None,
            failed_at: None,
            wake_at: None,
            output: None,
            error: None,
            session_id: None,
            continued: false,
            warned: false,
            admitted: false,
            bypassed: false,
            signal: None,
            fallback: false,
        }
    }
}

/// A signal that was sent and that no step has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// What was sent with it.
    pub payload: Json,
}

/// A decision that the thread waits for, or that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervention {
    /// What is asked.
    pub opened: InterventionOpened,
    /// Since when.
    pub at: Timestamp,
    /// What was decided, and when.
    pub resolved: Option<(InterventionResolved, Timestamp)>,
}

/// Who stopped a thread, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Since when it stands.
    pub at: Timestamp,
    /// An API key's name, or `rethread` for a policy.
    pub by: String,
    /// Why, if it was said.
    pub reason: Option<String>,
}

/// A thread, as its journal tells it. [`Clone`] and [`PartialEq`] serve tests and `?at=`.
#[derive(Debug, Clone)]
pub struct ThreadState {
    /// The thread.
    pub thread_id: ThreadId,
    /// What it executes.
    pub plan: Arc<Plan>,
    /// Name, version and hash of what it executes.
    pub workflow: WorkflowRef,
    /// Where it stands.
    pub status: ThreadStatus,
    /// Its steps, by their position in the plan.
    pub steps: Vec<StepState>,
    /// Its input.
    pub input: Json,
    /// What the client attached.
    pub metadata: Json,
    /// W3C trace context of the invoke.
    pub traceparent: Option<String>,
    /// Its output, once completed.
    pub output: Option<Json>,
    /// Why it failed, or is about to once its running attempts have ended.
    pub error: Option<Failure>,
    /// Takeovers after a replica was lost.
    pub recoveries: u32,
    /// Those of them at which an attempt was lost, since a step completed or a person decided: only
    /// a thread of which something ran can be what replicas are lost by.
    pub interrupted: u32,
    /// What was asked of people, oldest first.
    pub interventions: Vec<Intervention>,
    /// Signals that nobody has taken yet, oldest first.
    pub signals: Vec<Signal>,
    /// Who paused or aborted it, until it is resumed.
    pub stopped: Option<Stop>,
    /// The head of its journal.
    pub last_seq: Seq,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its last event happened.
    pub updated_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

impl ThreadState {
    /// The state after a thread's first event; `None` if that is not a `workflow_start`.
    pub fn first(thread_id: ThreadId, plan: Arc<Plan>, event: &Event) -> Option<Self> {
        let EventBody::WorkflowStart(start) = &event.body else { return None };
        Some(Self {
            thread_id,
            steps: plan.steps.iter().map(|_| StepState::new()).collect(),
            plan,
            workflow: start.workflow.clone(),
            status: ThreadStatus::Queued,
            input: start.input.clone(),
            metadata: start.metadata.clone(),
            traceparent: start.traceparent.clone(),
            output: None,
            error: None,
            recoveries: 0,
            interrupted: 0,
            interventions: Vec::new(),
            signals: Vec::new(),
            stopped: None,
            last_seq: event.seq,
            created_at: event.at,
            updated_at: event.at,
            completed_at: None,
        })
    }

    /// A step by its position.
    pub fn step(&self, position: usize) -> Option<&StepState> {
        self.steps.get(position)
    }

    /// Whether an attempt is under way.
    pub fn has_running(&self) -> bool {
        self.steps.iter().any(|step| step.status == StepStatus::Running)
    }

    /// The interventions that wait for a decision, oldest first.
    pub fn open_interventions(&self) -> impl Iterator<Item = &Intervention> {
        self.interventions.iter().filter(|one| one.resolved.is_none())
    }

    /// The id of an intervention that the next event opens: unique, as thread and number are.
    pub(super) fn next_intervention(&self) -> String {
        format!("{}~{}", self.thread_id, self.last_seq + 1)
    }

    /// Whether a step has used up its attempts and the thread ends as soon as none is under way.
    pub fn is_failing(&self) -> bool {
        self.status == ThreadStatus::Running && self.error.is_some()
    }

    /// When the next retry or wait is due; `None` if only attempts or messages move it.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.status != ThreadStatus::Running || self.error.is_some() {
            return None;
        }
        self.steps.iter().filter_map(|step| step.wake_at).min()
    }

    /// Steps that have ended, and steps in all.
    pub fn progress(&self) -> (usize, usize) {
        (self.steps.iter().filter(|step| step.status.is_terminal()).count(), self.steps.len())
    }

    /// The steps that run, retry or wait, in the order of the plan.
    pub fn current_steps(&self) -> Vec<StepId> {
        self.with_status(&[StepStatus::Running, StepStatus::Retrying, StepStatus::Waiting])
    }

    pub(super) fn with_status(&self, wanted: &[StepStatus]) -> Vec<StepId> {
        let steps = self.plan.steps.iter().zip(&self.steps);
        steps
            .filter(|(_, state)| wanted.contains(&state.status))
            .map(|(step, _)| step.id.clone())
            .collect()
    }
}

impl Scope for ThreadState {
    fn thread_id(&self) -> &ThreadId {
        &self.thread_id
    }

    fn input(&self) -> &Json {
        &self.input
    }

    fn step(&self, id: &str) -> Option<StepView<'_>> {
        let state = self.steps.get(self.plan.position(id)?)?;
        Some(StepView {
            status: state.status,
            output: state.output.as_ref(),
            error: state.error.as_ref(),
            session_id: state.session_id.as_deref(),
        })
    }

    fn step_ids(&self) -> Vec<&str> {
        self.plan.steps.iter().map(|step| step.id.as_str()).collect()
    }

    fn secret(&self, _name: &str) -> Option<&str> {
        None
    }
}
