//! Judges an output by the `check` of its step, and accepts a blocked output for a person.
//!
//! A blocked output is kept in the journal (`step_waiting`) and in the state, and its step waits
//! until the question about it is answered. Called where attempts end, and where people decide.

use super::BlockedOutput;
use super::choices::{ABORT, ACCEPT, RETRY, SKIP};
use super::decision::Decision;
use crate::definition::{StepIx, Verdict};
use crate::model::{
    Category, EventBody, Failure, InterventionKind, InterventionOpened, Json, StepComplete,
    StepWaiting, canonical_digest, codes,
};

/// Returns whether an attempt's output completes its step (`true`) or is shown to a person
/// (`false`). An error is the failure of the attempt.
pub(super) fn passes(
    decision: &Decision<'_>,
    step: StepIx,
    output: &Json,
) -> Result<bool, Failure> {
    let Some(check) = &decision.planned(step).check else { return Ok(true) };
    match check.verdict(&*decision.state, output) {
        Ok(Verdict::Success) => Ok(true),
        Ok(Verdict::Blocked) => Ok(false),
        Ok(Verdict::Failed) => {
            let message = "the check of the step's output says that it is a failure";
            Err(Failure::recoverable(codes::CHECK_FAILED, Category::Step, message))
        }
        Err(detail) => Err(Failure::permanent(codes::CHECK_ERROR, Category::Validation, detail)),
    }
}

/// Keeps an output and asks a person about it.
pub(super) fn block(decision: &mut Decision<'_>, step: StepIx, blocked: BlockedOutput) {
    let id = decision.step_id(step);
    let digest = canonical_digest(&blocked.output);
    let BlockedOutput { output, duration_ms, session_id } = blocked;
    let data = StepWaiting {
        reason: StepWaiting::BLOCKED.to_owned(),
        output: Some(output),
        duration_ms: Some(duration_ms),
        session_id,
        ..StepWaiting::default()
    };
    decision.emit_on(step, EventBody::StepWaiting, data);
    decision.emit(EventBody::InterventionOpened(InterventionOpened {
        id: decision.state.next_intervention(),
        kind: InterventionKind::Blocked,
        prompt: format!("the check of step {id} has blocked its output"),
        steps: vec![id],
        choices: [ACCEPT, RETRY, SKIP, ABORT].map(str::to_owned).into(),
        digest: Some(digest),
        expires_at: None,
        on_timeout: None,
        escalates_at: decision.escalates_at(),
        approvers: Vec::new(),
        not_by: None,
    }));
}

/// Completes a step with its blocked output.
pub(super) fn accept(decision: &mut Decision<'_>, step: StepIx) {
    let state = &decision.state.steps[step];
    let (Some(blocked), fallback) = (state.own.blocked().cloned(), state.fallback) else { return };
    let BlockedOutput { output, duration_ms, session_id } = blocked;
    let data = StepComplete { output, duration_ms, session_id, fallback, error: None };
    decision.emit_on(step, EventBody::StepComplete, data);
}
