//! `POST /workflows/validate`: checks a workflow, and an input, without running anything.

use axum::Json as JsonAnswer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::schema::WorkflowDefinition;
use crate::api::Api;
use crate::api::extract::{WholeBody, Within};
use crate::api::fields::Fields;
use crate::api::problem::Problem;
use crate::api::query::{NoParams, QueryString};
use crate::model::{Json, Pointer};

/// A workflow with an input to check against it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct WorkflowWithInput {
    /// The workflow.
    workflow: WorkflowDefinition,
    /// An input to check against its `inputSchema`.
    #[schema(nullable = false)]
    input: Option<serde_json::Value>,
}

/// A workflow, by itself or with an input.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "documents a body that is kept as text")]
pub(in crate::api) enum ValidateRequest {
    /// With an input.
    WithInput(Box<WorkflowWithInput>),
    /// By itself.
    Workflow(Box<WorkflowDefinition>),
}

/// The workflow can be run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct ValidateAnswer {
    /// Always `true`: faults are answered with 400.
    valid: bool,
}

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
    let (workflow, input, at) = unwrap(body.required()?).map_err(Problem::faults)?;
    api.handle.validate(&namespace, &workflow, input.as_ref(), &at).await?;
    Ok(JsonAnswer(ValidateAnswer { valid: true }))
}

/// Tells the two forms apart: a workflow has no member `workflow`.
fn unwrap(body: Json) -> Result<(Json, Option<Json>, Pointer), Vec<crate::model::Fault>> {
    let mut fields = Fields::open(&body)?;
    let Some(workflow) = fields.value("workflow") else { return Ok((body, None, Pointer::root())) };
    let input = fields.json("input");
    fields.finish(&["workflow", "input"])?;
    Ok((workflow, input, Pointer::root().key("workflow")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_is_found_by_itself_or_beside_an_input() {
        let bare = Json::parse(r#"{"name":"w","steps":[]}"#).unwrap();
        assert_eq!(unwrap(bare.clone()), Ok((bare.clone(), None, Pointer::root())));
        let both = Json::parse(r#"{"workflow":{"name":"w","steps":[]},"input":null}"#).unwrap();
        let at = Pointer::root().key("workflow");
        assert_eq!(unwrap(both), Ok((bare, Some(Json::null()), at)));
        let typo = Json::parse(r#"{"workflow":{},"inptu":1}"#).unwrap();
        assert_eq!(unwrap(typo).unwrap_err()[0].pointer, "/inptu");
    }
}
