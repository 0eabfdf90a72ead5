//! The cause of a thread that waits for a person's answer.

use serde_json::json;

use super::case::Case;
use super::{Call, Cause, CauseKind};
use crate::machine::Intervention;

/// Explains that an intervention is open: its choices, and the call that decides it.
pub(super) fn asked(
    case: &Case<'_>,
    (kind, sentence): (CauseKind, String),
    one: &Intervention,
) -> Cause {
    let opened = &one.opened;
    let choice = opened.choices.first();
    let call = choice.map(|choice| Call {
        method: "POST",
        path: format!("/interventions/{}/resolve", opened.id),
        body: match &opened.digest {
            // The digest binds the decision to the question that was seen.
            Some(digest) => json!({ "choice": choice, "digest": digest }),
            None => json!({ "choice": choice }),
        },
        does: format!(
            "decides for \"{choice}\"; there is to choose: {}",
            opened.choices.join(", ")
        ),
    });
    let error = case.state.error.as_ref();
    let made = Cause::new(kind, sentence, "nothing by itself; whoever decides")
        .since(Some(one.at))
        .call(call)
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
