//! The cause of a thread that waits for a person's answer.

use serde_json::json;

use super::case::Case;
use crate::contract::{Advice, Cause, CauseKind, Operation};
use crate::machine::Intervention;

/// Explains that an intervention is open: its choices, and the advice that decides it.
pub(super) fn asked(
    case: &Case<'_>,
    (kind, sentence): (CauseKind, String),
    one: &Intervention,
) -> Cause {
    let opened = &one.opened;
    let choice = opened.choices.first();
    let advice = choice.map(|choice| {
        let (id, choice, digest) = (opened.id.clone(), choice.clone(), opened.digest.clone());
        let all = opened.choices.join(", ");
        let does = format!("decides for \"{choice}\"; there is to choose: {all}");
        Advice::new(&case.facts.thread_id, Operation::Resolve { id, choice, digest }, does)
    });
    let error = case.state.error.as_ref();
    let made = Cause::new(kind, sentence, "nothing by itself; whoever decides")
        .since(Some(one.at))
        .advice(advice)
        .detail(json!({
            "interventionId": opened.id, "prompt": opened.prompt, "choices": opened.choices,
            "digest": opened.digest, "expiresAt": opened.expires_at,
            "onTimeout": opened.on_timeout, "escalatesAt": opened.escalates_at,
            "approvers": opened.approvers, "notBy": opened.not_by,
            "escalatedAt": one.escalated, "steps": opened.steps, "error": error,
        }));
    match opened.steps.as_slice() {
        [step] => made.about(step),
        [] | [_, ..] => made,
    }
}
