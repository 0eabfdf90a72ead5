//! About how much memory a plan takes: what a cache of plans is bounded by.

use super::{Fallback, Plan, PlanStep};

/// About what the parsed forms of a byte of a workflow's text take beside it, in bytes: templates, ids,
/// names.
const TEXT: usize = 8;

impl Plan {
    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let schema = self.input_schema.as_ref().map_or(0, super::InputSchema::weight);
        let steps: usize = self.steps.iter().map(step).sum();
        size_of::<Self>() + self.text.len() * TEXT + schema + steps
    }
}

fn step(step: &PlanStep) -> usize {
    let condition = step.when.as_ref().map_or(0, super::Condition::weight);
    let check = step.check.as_ref().map_or(0, super::Check::weight);
    let fallback = match &step.fallback {
        Some(Fallback::Step(fallback)) => self::step(fallback),
        Some(Fallback::Output(_)) | None => 0,
    };
    let compensate = step.compensate.as_ref().map_or(0, |step| self::step(step));
    size_of::<PlanStep>() + condition + check + step.action.weight() + fallback + compensate
}
