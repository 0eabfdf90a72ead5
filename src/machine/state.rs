//! What is known of a thread: the fold of its journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AttemptId, Track, Who};
use crate::definition::{Plan, PlanStep, Scope, StepIx, StepView, Steps, Work};
use crate::model::{
    Event, EventBody, Failure, ForkPoint, InterventionOpened, InterventionResolved, Json, Seq,
    StepId, StepStatus, ThreadId, ThreadStatus, Timestamp, WorkflowRef, WorkflowStart, thread_key,
    verbatim,
};

/// One step of a thread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct StepState {
    /// Where it stands.
    pub status: StepStatus,
    /// The attempts at its own work, and then at that of its fallback.
    pub own: Track,
    /// When its first attempt began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
    /// When its last attempt that is to be made again failed.
    pub failed_at: Option<Timestamp>,
    /// Its output, once completed.
    #[serde(default, with = "verbatim")]
    pub output: Option<Json>,
    /// The agent session it ran in.
    pub session_id: Option<String>,
    /// Failed, and the thread went on (`continueOnError`).
    pub continued: bool,
    /// Its condition was asked and true: it is not asked again.
    pub admitted: bool,
    /// A person has skipped it: what depends on it runs all the same.
    pub bypassed: bool,
    /// The signal it waits for.
    pub signal: Option<String>,
    /// It has used its attempts: those that count now, or its output, are those of its fallback.
    pub fallback: bool,
    /// The event that completed it, which tells in what order steps did; 0 if none has.
    pub completed_seq: Seq,
    /// Where its compensation stands, once one was tried: `pending` if its attempt was lost or
    /// stopped, else `running`, `retrying`, `failed` or `compensated`.
    pub undo: Option<StepStatus>,
    /// The attempts at its compensation.
    pub compensation: Track,
    /// How often it was undone and then begun again: what it does now is another effect.
    pub rounds: u32,
    /// The output that its `check` has blocked, until a person has decided about it.
    pub held: Option<Held>,
}

/// Why a thread is undone, which says how it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undoing {
    /// It has failed.
    Failure,
    /// A person has aborted it.
    Abort(Who),
}

impl StepState {
    pub(super) fn new() -> Self {
        Self {
            status: StepStatus::Pending,
            own: Track::default(),
            started_at: None,
            completed_at: None,
            failed_at: None,
            output: None,
            session_id: None,
            continued: false,
            admitted: false,
            bypassed: false,
            signal: None,
            fallback: false,
            completed_seq: 0,
            undo: None,
            compensation: Track::default(),
            rounds: 0,
            held: None,
        }
    }

    /// Which of the step's own works it is at, or has done: itself, or its fallback.
    pub const fn work(&self) -> Work {
        if self.fallback { Work::Fallback } else { Work::Own }
    }

    /// The attempts at one of its works.
    pub const fn track(&self, work: Work) -> &Track {
        match work {
            Work::Own | Work::Fallback => &self.own,
            Work::Compensation => &self.compensation,
        }
    }

    /// The works of which an attempt is under way.
    pub fn running(&self) -> impl Iterator<Item = Work> {
        let own = (self.status == StepStatus::Running).then(|| self.work());
        let undo = (self.undo == Some(StepStatus::Running)).then_some(Work::Compensation);
        own.into_iter().chain(undo)
    }

    /// Whether an attempt at any of its works is under way.
    pub fn is_running(&self) -> bool {
        self.running().next().is_some()
    }
}

/// What an attempt gave that has not completed its step yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The output.
    #[serde(with = "verbatim")]
    pub output: Json,
    /// How long the attempt took, in milliseconds.
    pub duration_ms: u64,
    /// The agent session it ran in.
    pub session_id: Option<String>,
}

/// A signal that was sent and that no step has taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// What was sent with it.
    #[serde(with = "verbatim")]
    pub payload: Json,
}

impl Signal {
    /// How many bytes it takes.
    pub fn weight(&self) -> usize {
        self.name.len() + self.payload.as_str().len()
    }
}

/// A decision that the thread waits for, or that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// What is asked.
    pub opened: InterventionOpened,
    /// Since when.
    pub at: Timestamp,
    /// When it was escalated.
    pub escalated: Option<Timestamp>,
    /// What was decided, and when.
    pub resolved: Option<(InterventionResolved, Timestamp)>,
}

impl Intervention {
    /// When it is to be escalated, if it waits for that.
    pub(super) fn escalates_at(&self) -> Option<Timestamp> {
        let waits = self.resolved.is_none() && self.escalated.is_none();
        self.opened.escalates_at.filter(|_| waits)
    }
}

/// How a thread was stopped: paused or aborted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Since when it stands.
    pub at: Timestamp,
    /// By whom (`rethread` for a policy), and why.
    pub who: Who,
    /// Where it was aborted, and the attempts under way may end first: it is paused until then.
    pub ending: Option<Ending>,
}

/// The end of an abort that lets attempts end first: once none is under way any more, at the latest
/// at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// When those that are left are cancelled.
    pub at: Timestamp,
    /// Whether what the thread has done is undone then.
    pub compensate: bool,
}

/// A thread, as its journal tells it. Its serde form is what `snapshot` writes, without the plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadState {
    /// The thread.
    #[serde(with = "thread_key")]
    pub thread_id: ThreadId,
    /// What it executes.
    #[serde(skip)]
    pub plan: Arc<Plan>,
    /// Name, version and hash of what it executes.
    pub workflow: WorkflowRef,
    /// Where it stands.
    pub status: ThreadStatus,
    /// Its steps, by their position in the plan.
    pub steps: Steps<StepState>,
    /// Its input.
    #[serde(with = "verbatim")]
    pub input: Json,
    /// What the client attached.
    #[serde(with = "verbatim")]
    pub metadata: Json,
    /// W3C trace context of the invoke.
    pub traceparent: Option<String>,
    /// Where its history comes from, if it began with that of another thread.
    pub forked_from: Option<ForkPoint>,
    /// Its output, once completed.
    #[serde(default, with = "verbatim")]
    pub output: Option<Json>,
    /// Why it failed, or is about to once its running attempts have ended.
    pub error: Option<Failure>,
    /// Why it is being undone, if it is.
    pub undoing: Option<Undoing>,
    /// Takeovers after a replica was lost.
    pub recoveries: u32,
    /// Those of them at which an attempt was lost, since a step completed or a person decided: only
    /// a thread of which something ran can be what replicas are lost by.
    pub interrupted: u32,
    /// What was asked of people, oldest first.
    pub interventions: Vec<Intervention>,
    /// Signals that nobody has taken yet, oldest first.
    pub signals: Vec<Signal>,
    /// Who started it, and who gave it other data since: by name, each once.
    pub starters: Vec<String>,
    /// Who paused or aborted it, until it is resumed.
    pub stopped: Option<Stopped>,
    /// The head of its journal.
    pub last_seq: Seq,
    /// When it has failed if it has not ended by then.
    pub deadline: Option<Timestamp>,
    /// When it was accepted; a fork, when it was forked: its history is older.
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
        let forked_from = start.forked_from.as_ref();
        let forked_from = forked_from.map(|from| from.point().beside(&thread_id));
        Some(Self {
            thread_id,
            steps: Steps::new(plan.steps.iter().map(|_| StepState::new()).collect()),
            plan,
            workflow: start.workflow.clone(),
            status: ThreadStatus::Queued,
            input: start.input.clone(),
            metadata: start.metadata.clone(),
            traceparent: start.traceparent.clone(),
            forked_from,
            output: None,
            error: None,
            undoing: None,
            recoveries: 0,
            interrupted: 0,
            interventions: Vec::new(),
            signals: Vec::new(),
            starters: starters(start),
            stopped: None,
            last_seq: event.seq,
            deadline: start.deadline,
            created_at: start.forked_from.as_ref().map_or(event.at, |from| from.at),
            updated_at: event.at,
            completed_at: None,
        })
    }

    /// Its steps, each with its place and what is planned of it.
    pub fn placed(&self) -> impl Iterator<Item = (StepIx, &PlanStep, &StepState)> {
        let steps = self.plan.steps.placed().zip(&self.steps);
        steps.map(|((at, planned), state)| (at, planned, state))
    }

    /// The step that an event is about; `None` if the plan has no such step.
    pub fn find(&self, id: &StepId) -> Option<(StepIx, &StepState)> {
        let at = self.plan.find(id.as_str())?;
        Some((at, &self.steps[at]))
    }

    /// Whether this attempt is under way.
    pub fn is_running(&self, AttemptId { step, work, number }: AttemptId) -> bool {
        let step = &self.steps[step];
        step.running().any(|running| running == work) && step.track(work).attempts == number
    }

    /// Whether an attempt is under way.
    pub fn has_running(&self) -> bool {
        self.steps.iter().any(StepState::is_running)
    }

    /// The steps of which an attempt is under way, in the order of the plan.
    pub(super) fn running(&self) -> Vec<StepId> {
        self.matching(StepState::is_running)
    }

    /// The steps that have not begun and that wait for no other, in the order of the plan.
    pub(super) fn next_steps(&self) -> Vec<StepId> {
        let next = self.placed().filter(|(_, planned, step)| {
            step.status == StepStatus::Pending && self.has_all_of(planned)
        });
        next.map(|(_, planned, _)| planned.id.clone()).collect()
    }

    /// Whether all that a step depends on has ended.
    pub(super) fn has_all_of(&self, planned: &PlanStep) -> bool {
        planned.depends_on.iter().all(|&need| self.steps[need].status.is_terminal())
    }

    /// The interventions that wait for a decision, oldest first.
    pub fn open_interventions(&self) -> impl Iterator<Item = &Intervention> {
        self.interventions.iter().filter(|one| one.resolved.is_none())
    }

    /// The steps that a resume begins again: this one, each that was undone, and all that come after
    /// them.
    pub(super) fn run_again(&self, from: Option<StepIx>) -> BTreeSet<StepIx> {
        let undone = |at: &StepIx| self.steps[*at].status == StepStatus::Compensated;
        let begun = from.into_iter().chain(self.steps.places().filter(undone));
        begun.flat_map(|step| self.plan.after(step)).collect()
    }

    /// The id of an intervention that the next event opens: unique, as thread and number are.
    pub(super) fn next_intervention(&self) -> String {
        format!("{}~{}", self.thread_id, self.last_seq + 1)
    }

    /// Whether a step has used up its attempts and the thread ends as soon as none is under way.
    pub fn is_failing(&self) -> bool {
        self.status == ThreadStatus::Running && self.error.is_some()
    }

    /// Who is aborting it, where the attempts under way may end first.
    pub fn ending(&self) -> Option<(&Who, Ending)> {
        let stopped = self.stopped.as_ref()?;
        Some((&stopped.who, stopped.ending?))
    }

    /// When the next retry, wait, escalation or bound is due; `None` if only attempts or messages
    /// move it.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let steps = self.steps.iter();
        let escalations = self.interventions.iter().filter_map(Intervention::escalates_at);
        match self.status {
            // Nothing is started, and people are asked all the same.
            ThreadStatus::Paused => {
                let end = self.ending().map(|(_, ending)| ending.at);
                let end = end.map(|at| if self.has_running() { at } else { self.updated_at });
                escalations.chain(end).min()
            }
            // It starts nothing any more, but what undoes it.
            ThreadStatus::Running if self.error.is_some() && self.has_running() => self.deadline,
            ThreadStatus::Running if self.error.is_some() => Some(self.updated_at),
            ThreadStatus::Running => {
                let due = steps.filter_map(|step| step.own.wake_at);
                due.chain(escalations).chain(self.deadline).min()
            }
            ThreadStatus::Compensating => steps.filter_map(|step| step.compensation.wake_at).min(),
            ThreadStatus::Queued
            | ThreadStatus::Completed
            | ThreadStatus::Failed
            | ThreadStatus::Aborted => None,
        }
    }

    /// Whether it waits for somebody: a signal or a decision moves it.
    pub fn waits_for_somebody(&self) -> bool {
        self.steps.iter().any(|step| step.signal.is_some())
            || self.open_interventions().next().is_some()
    }

    /// Steps that have ended, and steps in all.
    pub fn progress(&self) -> (usize, usize) {
        (self.steps.iter().filter(|step| step.status.is_terminal()).count(), self.steps.len())
    }

    /// The steps that run, retry or wait, or whose compensation does, in the order of the plan.
    pub fn current_steps(&self) -> Vec<StepId> {
        let under_way = [StepStatus::Running, StepStatus::Retrying, StepStatus::Waiting];
        self.matching(|step| {
            under_way.contains(&step.status)
                || step.undo.is_some_and(|status| under_way.contains(&status))
        })
    }

    /// The steps with an attempt under way that was found to be silent, in the order of the plan.
    pub fn stale_steps(&self) -> Vec<StepId> {
        self.matching(|step| step.running().any(|work| step.track(work).stale))
    }

    fn matching(&self, wanted: impl Fn(&StepState) -> bool) -> Vec<StepId> {
        let steps = self.placed().filter(|(_, _, state)| wanted(state));
        steps.map(|(_, planned, _)| planned.id.clone()).collect()
    }
}

/// Who started a thread; of a fork, also who started what it is a fork of.
fn starters(start: &WorkflowStart) -> Vec<String> {
    let forked = start.forked_from.as_ref().map(|from| from.by.clone());
    let forked = forked.filter(|by| *by != start.by);
    [start.by.clone()].into_iter().chain(forked).collect()
}

impl Scope for ThreadState {
    fn thread_id(&self) -> &ThreadId {
        &self.thread_id
    }

    fn input(&self) -> &Json {
        &self.input
    }

    fn step(&self, id: &str) -> Option<StepView<'_>> {
        let state = &self.steps[self.plan.find(id)?];
        Some(StepView {
            status: state.status,
            output: state.output.as_ref(),
            error: state.own.error.as_ref(),
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
