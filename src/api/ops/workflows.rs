//! `POST` and `GET /workflows`: stores definitions and lists them.

use axum::Json as JsonAnswer;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::Api;
use crate::api::extract::{WholeBody, Within};
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, NoParams, Params, QueryString};
use crate::contract::{StoredWorkflow, WorkflowDefinition, WorkflowList};

/// Which workflows to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WorkflowsQuery {
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200, default = 50)]
    limit: usize,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

impl FromQuery for WorkflowsQuery {
    fn read(query: &mut Params) -> Self {
        Self { limit: query.limit(DEFAULT_LIMIT), cursor: query.text("cursor") }
    }
}

/// Store a workflow as the next version of its name
///
/// The same text again changes nothing and answers with the version that has it.
#[utoipa::path(
    post, path = "/workflows", operation_id = "saveWorkflow", tag = "workflows",
    security(("bearer" = ["admin"])),
    request_body(content = WorkflowDefinition, description = "The workflow"),
    responses(
        (status = 201, description = "Stored as a new version", body = StoredWorkflow,
         headers(("Location" = String, description = "The stored workflow"))),
        (status = 200, description = "This text is the newest version already", body = StoredWorkflow),
    )
)]
pub(in crate::api) async fn save(
    State(api): State<Api>,
    Within(namespace): Within,
    _: QueryString<NoParams>,
    workflow: WholeBody,
) -> Result<Response, Problem> {
    let (stored, created) = api.handle.save_workflow(&namespace, &workflow.required()?).await?;
    let location = location(&stored);
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = (status, JsonAnswer(stored)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn location(stored: &StoredWorkflow) -> Option<HeaderValue> {
    // Encoded as a form field, where a space is `+`; in a path it must be `%20`.
    let name: String = url::form_urlencoded::byte_serialize(stored.name.as_bytes()).collect();
    let name = name.replace('+', "%20");
    HeaderValue::try_from(format!("/workflows/{name}?version={}", stored.version)).ok()
}

/// List stored workflows by name
///
/// The newest version of each, without its text.
#[utoipa::path(
    get, path = "/workflows", operation_id = "listWorkflows", tag = "workflows",
    security(("bearer" = ["reader"])),
    params(WorkflowsQuery),
    responses((status = 200, description = "The newest version of each, without its text", body = WorkflowList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    Within(namespace): Within,
    QueryString(query): QueryString<WorkflowsQuery>,
) -> Result<JsonAnswer<WorkflowList>, Problem> {
    let page = api.handle.workflows(&namespace, query.cursor.as_deref(), query.limit).await;
    Ok(JsonAnswer(page.map_err(|error| Problem::from(error).without_pointers())?))
}
