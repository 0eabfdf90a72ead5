//! The state of a thread: the fold of its journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Actor, AttemptId, Phase, Track};
use crate::definition::{Plan, PlanStep, Scope, StepIx, StepView, Steps, Work};
use crate::model::{
    Event, EventBody, Failure, ForkPoint, InterventionOpened, InterventionResolved, Json, Seq,
    StepId, StepStatus, ThreadId, ThreadStatus, Timestamp, WorkflowRef, WorkflowStart, thread_key,
    verbatim,
};

/// The state of one step of a thread.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepState {
    /// The attempts at its own work, and then at that of its fallback.
    pub own: Track,
    /// The attempts at its compensation.
    pub compensation: Track,
    /// Set once the fallback has taken over: attempts and output are then the fallback's.
    pub fallback: bool,
    /// Whether its condition was evaluated and true: it is not evaluated again.
    pub admitted: bool,
    /// The start of its first attempt.
    pub started_at: Option<Timestamp>,
    /// The time of its end.
    pub completed_at: Option<Timestamp>,
    /// The time of its last failure that is followed by a retry.
    pub failed_at: Option<Timestamp>,
    /// Its output, once completed.
    #[serde(default, with = "verbatim")]
    pub output: Option<Json>,
    /// The agent session it ran in.
    pub session_id: Option<String>,
    /// The number of times it was undone and then begun again: its present run is another effect.
    pub compensation_epoch: u32,
}

/// The reason for which a thread is undone, which says how it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CompensationReason {
    /// The thread has failed.
    Failure,
    /// A person has aborted the thread.
    Abort(Actor),
}

impl StepState {
    /// Returns its status.
    pub const fn status(&self) -> StepStatus {
        match (&self.own.phase, &self.compensation.phase) {
            (Phase::Done { .. }, Phase::Done { .. }) => StepStatus::Compensated,
            (own, _) => own.status(),
        }
    }

    /// Returns the status of its compensation, once one was tried: `pending` if its attempt was
    /// lost or stopped, else `running`, `retrying`, `failed` or `compensated`.
    pub fn undo_status(&self) -> Option<StepStatus> {
        let Track { attempt_at, phase, .. } = &self.compensation;
        let undone = matches!(phase, Phase::Done { .. });
        attempt_at.map(|_| if undone { StepStatus::Compensated } else { phase.status() })
    }

    /// Returns whether it has failed and the thread went on (`continueOnError`).
    pub const fn is_continued(&self) -> bool {
        matches!(self.own.phase, Phase::Failed { continued: true })
    }

    /// Returns whether it has failed its thread.
    pub const fn is_fatal(&self) -> bool {
        matches!(self.own.phase, Phase::Failed { continued: false })
    }

    /// Returns whether a person has skipped it: steps that depend on it run all the same.
    pub const fn is_bypassed(&self) -> bool {
        matches!(self.own.phase, Phase::Skipped { bypassed: true })
    }

    /// Returns the work that the step is at, or has done: its own or its fallback's.
    pub const fn work(&self) -> Work {
        if self.fallback { Work::Fallback } else { Work::Own }
    }

    /// Returns the last attempt at its own work or its fallback's; `at` is its place.
    pub const fn current(&self, at: StepIx) -> AttemptId {
        AttemptId { step: at, work: self.work(), number: self.own.attempts }
    }

    /// Returns the attempts at one of its works.
    pub const fn track(&self, work: Work) -> &Track {
        match work {
            Work::Own | Work::Fallback => &self.own,
            Work::Compensation => &self.compensation,
        }
    }

    pub(super) const fn track_mut(&mut self, work: Work) -> &mut Track {
        match work {
            Work::Own | Work::Fallback => &mut self.own,
            Work::Compensation => &mut self.compensation,
        }
    }

    /// Returns the works of which a replica holds an attempt.
    pub fn running(&self) -> impl Iterator<Item = Work> {
        let works = [self.work(), Work::Compensation];
        works.into_iter().filter(|&work| self.track(work).is_running())
    }

    /// Returns whether a replica holds an attempt at any of its works.
    pub fn is_running(&self) -> bool {
        self.running().next().is_some()
    }
}

/// A signal that was sent and that no step has taken yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name.
    pub name: String,
    /// Its payload.
    #[serde(with = "verbatim")]
    pub payload: Json,
}

impl Signal {
    /// Returns the number of bytes that it takes.
    pub fn weight(&self) -> usize {
        self.name.len() + self.payload.as_str().len()
    }
}

/// A question to a person, open or decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// The question.
    pub opened: InterventionOpened,
    /// The time at which it was opened.
    pub at: Timestamp,
    /// The time at which it was escalated.
    pub escalated: Option<Timestamp>,
    /// The decision and its time.
    pub resolved: Option<(InterventionResolved, Timestamp)>,
}

impl Intervention {
    /// Returns when it is to be escalated, if it waits for that.
    pub(super) fn escalates_at(&self) -> Option<Timestamp> {
        let waits = self.resolved.is_none() && self.escalated.is_none();
        self.opened.escalates_at.filter(|_| waits)
    }
}

/// The stop of a thread: a pause or an abort.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PausedBy {
    /// The time of the stop.
    pub at: Timestamp,
    /// The actor (`rethread` for a policy), and the reason.
    pub actor: Actor,
    /// The end of an abort with a grace, until which the thread is paused; `None` of other stops.
    pub abort_deadline: Option<AbortDeadline>,
}

/// The end of an abort with a grace: it comes once no attempt is under way any more, at the latest
/// at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortDeadline {
    /// The time at which the attempts that are left are cancelled.
    pub at: Timestamp,
    /// Whether the completed steps of the thread are undone then.
    pub compensate: bool,
}

/// The state of a thread, as its journal tells it. `snapshot` writes its serde form, without the
/// plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadState {
    /// The thread.
    #[serde(with = "thread_key")]
    pub thread_id: ThreadId,
    /// The plan that it executes.
    #[serde(skip)]
    pub plan: Arc<Plan>,
    /// The name, version and hash of its workflow.
    pub workflow: WorkflowRef,
    /// Its status.
    pub status: ThreadStatus,
    /// Its steps, by their position in the plan.
    pub steps: Steps<StepState>,
    /// Its input.
    #[serde(with = "verbatim")]
    pub input: Json,
    /// The metadata that the client attached.
    #[serde(with = "verbatim")]
    pub metadata: Json,
    /// W3C trace context of the invoke.
    pub traceparent: Option<String>,
    /// The point in another thread that its history comes from, if it is a fork.
    pub forked_from: Option<ForkPoint>,
    /// Its output, once completed.
    #[serde(default, with = "verbatim")]
    pub output: Option<Json>,
    /// The error by which it has failed, or fails once its running attempts have ended.
    pub error: Option<Failure>,
    /// The reason for which it is being undone, if it is.
    pub compensation_reason: Option<CompensationReason>,
    /// The number of takeovers after a replica was lost.
    pub recoveries: u32,
    /// The number of those takeovers at which an attempt was lost, since a step completed or a
    /// person decided: only a thread with an attempt under way can be the cause of a loss.
    pub interrupted: u32,
    /// The interventions, oldest first.
    pub interventions: Vec<Intervention>,
    /// Signals that no step has taken yet, oldest first.
    pub signals: Vec<Signal>,
    /// The names of those who started it, or gave it other data since, each once.
    pub starters: Vec<String>,
    /// Its pause or abort, until it is resumed.
    pub paused_by: Option<PausedBy>,
    /// The head of its journal.
    pub last_seq: Seq,
    /// The time at which it fails if it has not ended by then.
    pub deadline: Option<Timestamp>,
    /// The time at which it was accepted; of a fork, the time of the fork: its history is older.
    pub created_at: Timestamp,
    /// The time of its last event.
    pub updated_at: Timestamp,
    /// The time of its end.
    pub completed_at: Option<Timestamp>,
}

impl ThreadState {
    /// Returns the state after a thread's first event; `None` if that is not a `workflow_start`.
    pub fn first(thread_id: ThreadId, plan: Arc<Plan>, event: &Event) -> Option<Self> {
        let EventBody::WorkflowStart(start) = &event.body else { return None };
        let forked_from = start.forked_from.as_ref();
        let forked_from = forked_from.map(|from| from.point().beside(&thread_id));
        Some(Self {
            thread_id,
            steps: Steps::new(plan.steps.iter().map(|_| StepState::default()).collect()),
            plan,
            workflow: start.workflow.clone(),
            status: ThreadStatus::Queued,
            input: start.input.clone(),
            metadata: start.metadata.clone(),
            traceparent: start.traceparent.clone(),
            forked_from,
            output: None,
            error: None,
            compensation_reason: None,
            recoveries: 0,
            interrupted: 0,
            interventions: Vec::new(),
            signals: Vec::new(),
            starters: starters(start),
            paused_by: None,
            last_seq: event.seq,
            deadline: start.deadline,
            created_at: start.forked_from.as_ref().map_or(event.at, |from| from.at),
            updated_at: event.at,
            completed_at: None,
        })
    }

    /// Returns its steps, each with its place and its plan.
    pub fn placed(&self) -> impl Iterator<Item = (StepIx, &PlanStep, &StepState)> {
        let steps = self.plan.steps.placed().zip(&self.steps);
        steps.map(|((at, planned), state)| (at, planned, state))
    }

    /// Returns the step that an event is about; `None` if the plan has no such step.
    pub fn find(&self, id: &StepId) -> Option<(StepIx, &StepState)> {
        let at = self.plan.find(id.as_str())?;
        Some((at, &self.steps[at]))
    }

    /// Returns whether this attempt is under way.
    pub fn is_running(&self, AttemptId { step, work, number }: AttemptId) -> bool {
        let step = &self.steps[step];
        step.running().any(|running| running == work) && step.track(work).attempts == number
    }

    /// Returns whether an attempt is under way.
    pub fn has_running(&self) -> bool {
        self.steps.iter().any(StepState::is_running)
    }

    /// Returns the steps of which an attempt is under way, in the order of the plan.
    pub fn running(&self) -> Vec<StepId> {
        self.matching(StepState::is_running)
    }

    /// Returns the steps that have not begun and that wait for no other, in the order of the plan.
    pub fn next_steps(&self) -> Vec<StepId> {
        let next = self.placed().filter(|(_, planned, step)| {
            step.status() == StepStatus::Pending && self.has_all_of(planned)
        });
        next.map(|(_, planned, _)| planned.id.clone()).collect()
    }

    /// Returns whether all steps that a step depends on have ended.
    pub(super) fn has_all_of(&self, planned: &PlanStep) -> bool {
        planned.depends_on.iter().all(|&need| self.steps[need].status().is_terminal())
    }

    /// Returns the intervention of this id. The newest ones are found at once, whatever was asked
    /// before.
    pub(super) fn intervention(&self, id: &str) -> Option<&Intervention> {
        self.interventions.iter().rev().find(|one| one.opened.id == id)
    }

    pub(super) fn intervention_mut(&mut self, id: &str) -> Option<&mut Intervention> {
        self.interventions.iter_mut().rev().find(|one| one.opened.id == id)
    }

    /// Returns the interventions that wait for a decision, oldest first.
    pub fn open_interventions(&self) -> impl DoubleEndedIterator<Item = &Intervention> {
        self.interventions.iter().filter(|one| one.resolved.is_none())
    }

    /// Returns the steps that a resume begins again: `from`, each that was undone, and all steps
    /// after them.
    pub(super) fn run_again(&self, from: Option<StepIx>) -> BTreeSet<StepIx> {
        let undone = |at: &StepIx| self.steps[*at].status() == StepStatus::Compensated;
        let begun = from.into_iter().chain(self.steps.places().filter(undone));
        self.plan.after_all(begun)
    }

    /// Returns the id of an intervention that the next event opens: unique, as thread and number
    /// are.
    pub(super) fn next_intervention(&self) -> String {
        intervention_id(&self.thread_id, self.last_seq)
    }

    /// Returns whether a step has used its attempts, so that the thread ends as soon as none is
    /// under way.
    pub fn is_failing(&self) -> bool {
        self.status == ThreadStatus::Running && self.error.is_some()
    }

    /// Returns the actor and the end of an abort with a grace, if there is one.
    pub fn abort_deadline(&self) -> Option<(&Actor, AbortDeadline)> {
        let paused_by = self.paused_by.as_ref()?;
        Some((&paused_by.actor, paused_by.abort_deadline?))
    }

    /// Returns when the next retry, wait, escalation or bound is due; `None` if only attempts or
    /// messages move the thread.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let steps = self.steps.iter();
        let escalations = self.interventions.iter().filter_map(Intervention::escalates_at);
        match self.status {
            // Nothing is started, but questions are escalated all the same.
            ThreadStatus::Paused => {
                let end = self.abort_deadline().map(|(_, abort_deadline)| abort_deadline.at);
                let end = end.map(|at| if self.has_running() { at } else { self.updated_at });
                escalations.chain(end).min()
            }
            // A failing thread starts nothing but compensations.
            ThreadStatus::Running if self.error.is_some() && self.has_running() => self.deadline,
            ThreadStatus::Running if self.error.is_some() => Some(self.updated_at),
            ThreadStatus::Running => {
                let due = steps.filter_map(|step| step.own.wakes_at());
                due.chain(escalations).chain(self.deadline).min()
            }
            ThreadStatus::Compensating => {
                steps.filter_map(|step| step.compensation.wakes_at()).min()
            }
            ThreadStatus::Queued
            | ThreadStatus::Completed
            | ThreadStatus::Failed
            | ThreadStatus::Aborted => None,
        }
    }

    /// Returns whether it waits for a person or a client: a signal or a decision moves it.
    pub fn waits_for_somebody(&self) -> bool {
        self.steps.iter().any(|step| step.own.signal().is_some())
            || self.open_interventions().next().is_some()
    }

    /// Returns whether nothing would ever move it once nobody drives it: such a state is a fault.
    pub fn is_unmoved(&self) -> bool {
        let moves = self.status.is_terminal()
            || self.status == ThreadStatus::Paused
            || self.has_running()
            || self.next_wake().is_some()
            || self.waits_for_somebody();
        !moves
    }

    /// Returns the number of steps that have ended, and of all steps.
    pub fn progress(&self) -> (usize, usize) {
        (self.steps.iter().filter(|step| step.status().is_terminal()).count(), self.steps.len())
    }

    /// Returns the steps that run, retry or wait, or whose compensation does, in the order of the
    /// plan.
    pub fn current_steps(&self) -> Vec<StepId> {
        let under_way = [StepStatus::Running, StepStatus::Retrying, StepStatus::Waiting];
        self.matching(|step| {
            under_way.contains(&step.status())
                || step.undo_status().is_some_and(|status| under_way.contains(&status))
        })
    }

    /// Returns the steps with an attempt under way that was found to be silent, in the order of the
    /// plan.
    pub fn stale_steps(&self) -> Vec<StepId> {
        self.matching(|step| step.running().any(|work| step.track(work).is_stale()))
    }

    fn matching(&self, wanted: impl Fn(&StepState) -> bool) -> Vec<StepId> {
        let steps = self.placed().filter(|(_, _, state)| wanted(state));
        steps.map(|(_, planned, _)| planned.id.clone()).collect()
    }
}

/// Returns the name of who started a thread; of a fork, also the name of who started the thread
/// that it is forked from.
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
            status: state.status(),
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

/// Returns the id of an intervention that is opened behind the head of a journal.
pub(super) fn intervention_id(thread: &ThreadId, head: Seq) -> String {
    format!("{thread}~{}", head + 1)
}
