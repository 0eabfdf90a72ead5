//! The cause that is a question to a person.

use serde_json::json;

use super::case::Case;
use super::{Call, Cause, CauseKind};
use crate::machine::Intervention;

/// An intervention is open: what there is to choose, and the call that does.
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
            // Only what was seen is decided.
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
