//! `POST /interventions/{id}/resolve`: records the decision of a person.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::control::{Change, changed};
use crate::api::Api;
use crate::api::extract::{Body, FromBody, Within, path_parameter};
use crate::api::problem::Problem;
use crate::contract::{InvokeAnswer, ResolveRequest};

/// The intervention that the path names.
pub(in crate::api) struct InterventionPath(String);

impl FromRequestParts<Api> for InterventionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        path_parameter(parts, "interventionId").await.map(Self)
    }
}

impl FromBody for ResolveRequest {}

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
    request_body(content = ResolveRequest),
    responses((status = 200, description = "It is decided, and its thread does as decided", body = InvokeAnswer))
)]
pub(in crate::api) async fn resolve(
    State(api): State<Api>,
    Within(namespace): Within,
    InterventionPath(id): InterventionPath,
    Change(control): Change,
    Body(request): Body<ResolveRequest>,
) -> Result<Response, Problem> {
    let invoked = api.handle.resolve((&namespace, id), request, control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}
