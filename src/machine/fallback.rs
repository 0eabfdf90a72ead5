//! The output that takes the place of a step which has used its attempts.

use super::DecisionContext;
use super::decision::Decision;
use super::scope::AsIf;
use crate::definition::{StepIx, Template};
use crate::model::{Category, Failure, Json, StepStatus, codes};

/// Renders the fallback's output, which takes the place of the step's.
pub(super) fn stand_in(
    decision: &Decision<'_>,
    step: StepIx,
    template: &Template,
    error: &Failure,
) -> Result<Json, Failure> {
    let id = decision.plan.steps[step].id.as_str();
    // Where an output takes its place, no event says that the step has failed.
    let scope = AsIf { state: decision.state, id, status: StepStatus::Failed, error: Some(error) };
    let DecisionContext { max_event, max_thread, .. } = decision.context;
    let rendered = template
        .render(&scope, max_event)
        .map_err(|unfilled| unfilled.failure("the fallback's output"));
    let taken = decision.state.weight();
    let affordable = rendered.and_then(|output| {
        let fits = taken.saturating_add(output.as_str().len()) <= max_thread;
        fits.then_some(output).ok_or_else(|| too_much(max_thread))
    });
    affordable.map_err(|failure| {
        let message = format!("{}, after: {}", failure.message, error.message);
        let (step_id, attempt) = (error.step_id.clone(), error.attempt);
        Failure { message, step_id, attempt, ..failure }
    })
}

/// The failure of an attempt, or of a fallback, whose output or question would make a thread take more
/// than `most` bytes: whoever drives it next has to hold all of it as well.
pub fn too_much(most: usize) -> Failure {
    let message = format!(
        "the outputs and questions of this thread have more than {most} bytes in all, which is the most \
         that this server holds of one thread (RETHREAD_MEMORY_LIMIT)"
    );
    Failure::permanent(codes::PAYLOAD_TOO_LARGE, Category::Resource, message)
}
