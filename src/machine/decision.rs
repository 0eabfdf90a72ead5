//! A decision under way: each of its events is folded into the state as soon as it is decided.

use super::{Actor, AttemptId, DecisionContext, Effect, ThreadState};
use crate::definition::{self, Plan, PlanStep, StepIx};
use crate::model::{
    Event, EventBody, InterventionResolved, OnStep, StepId, StepStatus, Timestamp, millis,
};

/// A decision under way. If its events are not appended, the state must be dropped.
#[derive(Debug)]
pub(super) struct Decision<'a> {
    pub(super) plan: &'a Plan,
    pub(super) state: &'a mut ThreadState,
    pub(super) context: DecisionContext,
    events: Vec<Event>,
    effects: Vec<Effect>,
    unfinished: bool,
}

/// The answer to a command: what has happened, and what is to be done once that is durable.
#[derive(Debug, Clone, PartialEq, Default)]
#[must_use]
pub struct Decided {
    /// The events, in the order of the journal.
    pub events: Vec<Event>,
    /// The effects, in the order in which they are carried out.
    pub effects: Vec<Effect>,
    /// Whether steps are ready that this decision did not get to: [`super::Command::Advance`] goes on
    /// with them.
    pub unfinished: bool,
}

impl<'a> Decision<'a> {
    /// Begins a decision. `plan` is the plan of `state`, passed beside it so that it can be read
    /// while the state changes.
    pub(super) fn new(
        plan: &'a Plan,
        state: &'a mut ThreadState,
        context: DecisionContext,
    ) -> Self {
        Self { plan, state, context, events: Vec::new(), effects: Vec::new(), unfinished: false }
    }

    /// Returns whether this decision has made enough work, so that the rest is left to the next one.
    pub(super) fn leaves_the_rest(&mut self) -> bool {
        self.unfinished |= definition::is_enough();
        self.unfinished
    }

    /// Adds an effect.
    pub(super) fn cause(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Adds an event and folds it in. The end of a thread ends its attempts.
    pub(super) fn emit(&mut self, body: EventBody) {
        if body.is_terminal() {
            self.cause(Effect::CancelAll);
        }
        // Wall clocks step back; the times of a journal do not.
        let at = self.context.now.max(self.state.updated_at);
        let event = Event { seq: self.state.last_seq + 1, at, body };
        self.state.apply(&event);
        self.events.push(event);
    }

    /// Adds an event about a step and folds it in.
    pub(super) fn emit_on<T>(
        &mut self,
        step: StepIx,
        wrap: impl FnOnce(OnStep<T>) -> EventBody,
        data: T,
    ) {
        let (id, attempt) = (self.step_id(step), self.state.steps[step].own.attempts);
        self.emit(wrap(OnStep { step: id, attempt, data }));
    }

    /// Adds an event about an attempt and folds it in.
    pub(super) fn emit_of<T>(
        &mut self,
        AttemptId { step, number, .. }: AttemptId,
        wrap: impl FnOnce(OnStep<T>) -> EventBody,
        data: T,
    ) {
        self.emit(wrap(OnStep { step: self.step_id(step), attempt: number, data }));
    }

    pub(super) fn step_id(&self, step: StepIx) -> StepId {
        self.plan.steps[step].id.clone()
    }

    pub(super) fn status_of(&self, step: StepIx) -> StepStatus {
        self.state.steps[step].status()
    }

    /// Returns the last attempt at the work that a step is at, or has done.
    pub(super) fn current(&self, step: StepIx) -> AttemptId {
        self.state.steps[step].current(step)
    }

    /// Returns the time since an attempt under way began, in milliseconds.
    pub(super) fn elapsed_ms(&self, AttemptId { step, work, .. }: AttemptId) -> u64 {
        let (now, began) = (self.context.now, self.state.steps[step].track(work).attempt_at);
        millis(now.since(began.unwrap_or(now)))
    }

    /// Returns the plan of the work that a step is at, or has done: its own or its fallback's.
    pub(super) fn planned(&self, step: StepIx) -> &'a PlanStep {
        self.plan.steps[step].work(self.state.steps[step].work())
    }

    /// Returns the time since the thread was accepted, in milliseconds.
    pub(super) fn age_ms(&self) -> u64 {
        millis(self.context.now.since(self.state.created_at))
    }

    /// Returns when a question that is asked now is escalated, by the workflow's `escalate_after`.
    pub(super) fn escalates_at(&self) -> Option<Timestamp> {
        self.plan.escalate_after.map(|after| self.context.now.plus(after))
    }

    /// Returns the resolution of an intervention, with the digest of its question.
    pub(super) fn settled(&self, id: String, choice: &str, actor: &Actor) -> InterventionResolved {
        let asked = self.state.intervention(&id);
        InterventionResolved {
            digest: asked.and_then(|one| one.opened.digest.clone()),
            id,
            choice: choice.to_owned(),
            by: actor.by.clone(),
            on_behalf_of: actor.on_behalf_of.clone(),
            comment: actor.reason.clone(),
        }
    }

    pub(super) fn into_decided(self) -> Decided {
        Decided { events: self.events, effects: self.effects, unfinished: self.unfinished }
    }
}
