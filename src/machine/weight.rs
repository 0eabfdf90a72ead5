//! Estimates the memory of a thread while it is driven: the room of a replica is measured in it.

use super::{Intervention, Signal, StepState, ThreadState};
use crate::model::{Failure, Json};

impl ThreadState {
    /// Estimates the number of bytes that it takes beside its plan.
    pub fn weight(&self) -> usize {
        let steps: usize = self.steps.iter().map(step).sum();
        let signals: usize = self.signals.iter().map(Signal::weight).sum();
        let asked = self.interventions.iter().map(question);
        let own = [Some(&self.input), Some(&self.metadata), self.output.as_ref()];
        let own: usize = own.into_iter().flatten().map(text).sum();
        size_of::<Self>() + own + steps + signals + asked.sum::<usize>()
    }
}

fn question(asked: &Intervention) -> usize {
    let texts = asked.opened.choices.iter().chain(&asked.opened.approvers);
    let texts: usize = texts.map(|text| size_of_val(text) + text.len()).sum();
    size_of_val(asked) + asked.opened.prompt.len() + texts
}

fn step(step: &StepState) -> usize {
    let blocked = step.own.blocked().map(|blocked| &blocked.output);
    let failures = [step.own.error.as_ref(), step.compensation.error.as_ref()];
    let outputs: usize = step.output.iter().chain(blocked).map(text).sum();
    size_of::<StepState>() + outputs + failures.into_iter().flatten().map(failure).sum::<usize>()
}

fn text(json: &Json) -> usize {
    json.as_str().len()
}

fn failure(failure: &Failure) -> usize {
    failure.code.len() + failure.message.len()
}
