//! `POST /workflows/validate`: checks a workflow, and an input, without running anything.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::extract::{WholeBody, Within};
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::contract::{ValidateAnswer, ValidateRequest, WorkflowCheck};
use crate::model::Faults;

/// Check a workflow without running it
///
/// The body is a workflow, or `{workflow, input}` to check an input too. Faults are answered with
/// 400, all at once, each with its JSON pointer.
#[utoipa::path(
    post, path = "/workflows/validate", operation_id = "validateWorkflow", tag = "workflows",
    security(("bearer" = ["invoker"])),
    request_body(content = ValidateRequest, description = "The workflow"),
    responses((status = 200, description = "The workflow can be run", body = ValidateAnswer))
)]
pub(in crate::api) async fn validate(
    State(api): State<Api>,
    Within(namespace): Within,
    _: QueryString<NoParams>,
    body: WholeBody,
) -> Result<JsonAnswer<ValidateAnswer>, Problem> {
    let mut faults = Faults::default();
    let check = WorkflowCheck::read(body.required()?, &mut faults);
    let check = check.ok_or_else(|| Problem::faults(faults.into_vec()))?;
    api.handle.validate(&namespace, &check).await?;
    Ok(JsonAnswer(ValidateAnswer { valid: true }))
}
