//! Events in the making: each is folded into the state as soon as it is decided.

use super::{Moment, ThreadState, Who};
use crate::model::{Event, EventBody, InterventionResolved, OnStep, StepId, StepStatus, Timestamp};

/// A decision under way. If what it holds is not appended, the state must be thrown away.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) state: &'a mut ThreadState,
    pub(super) moment: Moment,
    events: Vec<Event>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &'a mut ThreadState, moment: Moment) -> Self {
        Self { state, moment, events: Vec::new() }
    }

    /// Adds a fact and folds it in.
    pub(super) fn emit(&mut self, body: EventBody) {
        // Wall clocks step back; the times of a journal do not.
        let at = self.moment.now.max(self.state.updated_at);
        let event = Event { seq: self.state.last_seq + 1, at, body };
        self.state.apply(&event);
        self.events.push(event);
    }

    /// Adds a fact about a step and folds it in.
    pub(super) fn emit_on<T>(
        &mut self,
        step: usize,
        wrap: impl FnOnce(OnStep<T>) -> EventBody,
        data: T,
    ) {
        let Some(id) = self.step_id(step) else { return };
        let attempt = self.state.steps.get(step).map_or(0, |state| state.attempts);
        self.emit(wrap(OnStep { step: id, attempt, data }));
    }

    pub(super) fn step_id(&self, step: usize) -> Option<StepId> {
        self.state.plan.steps.get(step).map(|step| step.id.clone())
    }

    pub(super) fn status_of(&self, step: usize) -> Option<StepStatus> {
        self.state.steps.get(step).map(|state| state.status)
    }

    /// When a question that is asked now is escalated, by the workflow's patience.
    pub(super) fn escalates_at(&self) -> Option<Timestamp> {
        self.state.plan.escalate_after.map(|after| self.moment.now.plus(after))
    }

    /// What settles an intervention, with the digest of what it was about.
    pub(super) fn settled(&self, id: String, choice: &str, who: &Who) -> InterventionResolved {
        let asked = self.state.interventions.iter().find(|one| one.opened.id == id);
        InterventionResolved {
            digest: asked.and_then(|one| one.opened.digest.clone()),
            id,
            choice: choice.to_owned(),
            by: who.by.clone(),
            on_behalf_of: who.on_behalf_of.clone(),
            comment: who.reason.clone(),
        }
    }

    pub(super) fn into_events(self) -> Vec<Event> {
        self.events
    }
}
