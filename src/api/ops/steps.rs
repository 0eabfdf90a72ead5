//! `POST /threads/{threadId}/steps/{stepId}/…`: retries, skips or edits one step.

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use utoipa::ToSchema;

use super::control::{Change, ReasonBody, changed, reason};
use super::invoke::InvokeAnswer;
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath, path_parameter};
use crate::api::fields::Fields;
use crate::api::problem::{Problem, STEP_NOT_FOUND};
use crate::model::{Json, StepId};
use crate::runtime::StepChange;

/// The step that the path names.
pub(in crate::api) struct StepPath(StepId);

impl FromRequestParts<Api> for StepPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let text = path_parameter(parts, "stepId").await?;
        // A text that is not an id names no step.
        let id = StepId::parse(&text);
        id.map(Self)
            .map_err(|_| Problem::new(&STEP_NOT_FOUND, format!("there is no step {text:?}")))
    }
}

/// How the step is skipped.
#[derive(Debug, ToSchema)]
#[schema(as = SkipRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct SkipBody {
    /// What the steps that depend on it see; `null` if absent.
    #[schema(value_type = Option<serde_json::Value>)]
    output: Option<Json>,
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
}

impl FromBody for SkipBody {
    const MEMBERS: &'static [&'static str] = &["output", "reason"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self { output: fields.value("output"), reason: reason(fields) }
    }
}

/// The output that takes the place of the step's own.
#[derive(Debug, ToSchema)]
#[schema(as = EditRequest)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct EditBody {
    /// The output from now on.
    #[schema(value_type = serde_json::Value, required)]
    output: Option<Json>,
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
}

impl FromBody for EditBody {
    const MEMBERS: &'static [&'static str] = &["output", "reason"];

    fn read(fields: &mut Fields<'_>) -> Self {
        let output = fields.json("output");
        if output.is_none() {
            fields.fault("output", "is required");
        }
        Self { output, reason: reason(fields) }
    }
}

/// Run a step's next attempt now
///
/// A step that waits for its retry is tried at once; one that has failed its thread is tried again,
/// and the thread goes on.
#[utoipa::path(
    post, path = "/threads/{threadId}/steps/{stepId}/retry", operation_id = "retryStep", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("stepId" = String, Path, description = "The step"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<ReasonBody>, description = "May be left out"),
    responses((status = 202, description = "The step runs again", body = InvokeAnswer))
)]
pub(in crate::api) async fn retry(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    StepPath(step): StepPath,
    change: Change,
    Body(body): Body<ReasonBody>,
) -> Result<Response, Problem> {
    let control = change.because(body.reason);
    let invoked = api.handle.change_step(&thread, (step, StepChange::Retry), control).await?;
    Ok(changed(&invoked, StatusCode::ACCEPTED))
}

/// Do without a step
///
/// It ends `skipped`, and what depends on it runs and sees the output given here, or `null`. An
/// attempt under way is cancelled. A thread that the step has failed goes on.
#[utoipa::path(
    post, path = "/threads/{threadId}/steps/{stepId}/skip", operation_id = "skipStep", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("stepId" = String, Path, description = "The step"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<SkipBody>, description = "May be left out"),
    responses((status = 200, description = "The step is skipped", body = InvokeAnswer))
)]
pub(in crate::api) async fn skip(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    StepPath(step): StepPath,
    change: Change,
    Body(body): Body<SkipBody>,
) -> Result<Response, Problem> {
    let control = change.because(body.reason);
    let skip = StepChange::Skip { output: body.output };
    let invoked = api.handle.change_step(&thread, (step, skip), control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}

/// Edit the output of a completed step
///
/// Only while the thread is paused. The journal keeps both: the completion and the edit, with who
/// and why. Steps that have run already are not run again.
#[utoipa::path(
    post, path = "/threads/{threadId}/steps/{stepId}/output", operation_id = "editStepOutput", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("stepId" = String, Path, description = "The step"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = EditBody),
    responses((status = 200, description = "The output is edited", body = InvokeAnswer))
)]
pub(in crate::api) async fn edit(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    StepPath(step): StepPath,
    change: Change,
    Body(body): Body<EditBody>,
) -> Result<Response, Problem> {
    let control = change.because(body.reason);
    let edit = StepChange::Edit { output: body.output.unwrap_or_else(Json::null) };
    let invoked = api.handle.change_step(&thread, (step, edit), control).await?;
    Ok(changed(&invoked, StatusCode::OK))
}
