//! `GET /workflows/{name}`: a stored workflow.

use axum::Json as JsonAnswer;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;

use crate::api::Api;
use crate::api::extract::{Within, path_parameter};
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, Params, QueryString};
use crate::contract::{StoredName, StoredWorkflow};

/// Which version.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct WorkflowQuery {
    /// The version; the newest if absent.
    #[param(minimum = 1)]
    version: Option<u32>,
}

impl FromQuery for WorkflowQuery {
    fn read(query: &mut Params) -> Self {
        let version = query.parsed("version", |text| match text.parse::<u32>() {
            Ok(version) if version > 0 => Ok(version),
            Ok(_) | Err(_) => Err("must be a version: 1, 2, 3, …".to_owned()),
        });
        Self { version }
    }
}

/// The name that the path gives, with or without a version.
pub(in crate::api) struct NamePath(String);

impl FromRequestParts<Api> for NamePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        path_parameter(parts, "name").await.map(Self)
    }
}

/// Read a stored workflow
///
/// The newest version, or the one that the path or the query names.
#[utoipa::path(
    get, path = "/workflows/{name}", operation_id = "getWorkflow", tag = "workflows",
    security(("bearer" = ["reader"])),
    params(("name" = String, Path, description = "Its name, or `name@version`"), WorkflowQuery),
    responses((status = 200, description = "The workflow", body = StoredWorkflow))
)]
pub(in crate::api) async fn get(
    State(api): State<Api>,
    Within(namespace): Within,
    NamePath(text): NamePath,
    QueryString(query): QueryString<WorkflowQuery>,
) -> Result<JsonAnswer<StoredWorkflow>, Problem> {
    let named = StoredName::parse(&text);
    if let (Some(one), Some(other)) = (named.version, query.version)
        && one != other
    {
        return Err(Problem::invalid("the path and the query name different versions"));
    }
    let named = StoredName { version: named.version.or(query.version), ..named };
    Ok(JsonAnswer(api.handle.workflow(&namespace, &named).await?))
}
