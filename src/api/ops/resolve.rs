//! `POST /interventions/{id}/resolve`: records the decision of a person.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use utoipa::ToSchema;

use super::control::{Change, changed};
use super::invoke::InvokeAnswer;
use crate::api::Api;
use crate::api::extract::{Body, FromBody, Within, path_parameter};
use crate::api::fields::Fields;
use crate::api::problem::Problem;

/// The longest `comment` and `by`, in bytes: they are kept in the journal for ever.
const MAX_TEXT: usize = 2_048;

/// The intervention that the path names.
pub(in crate::api) struct InterventionPath(String);

impl FromRequestParts<Api> for InterventionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        path_parameter(parts, "interventionId").await.map(Self)
    }
}

/// What is decided.
#[derive(Debug, ToSchema)]
#[schema(as = ResolveRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct ResolveBody {
    /// One of the choices that the intervention offers.
    #[schema(value_type = String, required)]
    choice: Option<String>,
    /// The intervention's `digest`, as the person saw it: if it is about something else, nothing is
    /// decided (409 `digest_mismatch`).
    #[schema(max_length = 64)]
    digest: Option<String>,
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    comment: Option<String>,
    /// The person on whose behalf the caller decides: `onBehalfOf` in the event and in the step's
    /// output, beside the API key's name. Where nobody needs a key, it is `by`.
    #[schema(max_length = 2048)]
    by: Option<String>,
}

impl FromBody for ResolveBody {
    const MEMBERS: &'static [&'static str] = &["choice", "digest", "comment", "by"];

    fn read(fields: &mut Fields<'_>) -> Self {
        let choice = fields.string("choice");
        if choice.is_none() {
            fields.fault("choice", "is required");
        }
        let digest = fields.string("digest");
        Self { choice, digest, comment: text(fields, "comment"), by: text(fields, "by") }
    }
}

fn text(fields: &mut Fields<'_>, name: &str) -> Option<String> {
    let text = fields.string(name)?;
    if text.len() > MAX_TEXT {
        fields.fault(name, format!("is longer than {MAX_TEXT} bytes"));
        return None;
    }
    Some(text)
}

/// Decide an intervention
///
/// Once: the second decision is refused with what was decided (409 `intervention_resolved`). With the
/// `digest` that the intervention had when it was shown, only that is decided. An approval with
/// `approvers` or `notBy` is held against the caller's own name and role (403 `not_an_approver`).
#[utoipa::path(
    post, path = "/interventions/{interventionId}/resolve", operation_id = "resolveIntervention", tag = "control",
    security(("bearer" = ["operator"])),
    params(
        ("interventionId" = String, Path, description = "The intervention"),
        ("If-Match" = Option<String>, Header, description = "The thread's `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = ResolveBody),
    responses((status = 200, description = "It is decided, and its thread does as decided", body = InvokeAnswer))
)]
pub(in crate::api) async fn resolve(
    State(api): State<Api>,
    Within(namespace): Within,
    InterventionPath(id): InterventionPath,
    change: Change,
    Body(body): Body<ResolveBody>,
) -> Result<Response, Problem> {
    let mut control = change.because(body.comment);
    if let Some(person) = body.by.filter(|person| !person.is_empty()) {
        match control.role {
            // A body never proves an identity.
            Some(_) => control.on_behalf_of = Some(person),
            None => control.by = person,
        }
    }
    let decision = (body.choice.unwrap_or_default(), body.digest);
    let invoked = api.handle.resolve((&namespace, id), decision, control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}
