//! `GET /audit`: lists refusals, changes and deletions, with their callers.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, MAX_LONG_LIMIT, Params, QueryString};
use crate::contract::{AuditList, AuditQuery};
use crate::model::Timestamp;

impl FromQuery for AuditQuery {
    fn read(query: &mut Params) -> Self {
        Self {
            since: query.parsed("since", |text| {
                Timestamp::parse(text).ok_or_else(|| "must be a time in RFC 3339".to_owned())
            }),
            by: query.text("by"),
            action: query.text("action"),
            limit: query.limit_to(MAX_LONG_LIMIT, DEFAULT_LIMIT),
            cursor: query.text("cursor"),
        }
    }
}

/// List what was refused, deleted and changed, newest first
///
/// `refused`: a call was answered with 401, 403 or 421. `thread_deleted`, `workflow_stored`,
/// `notification_created`, `notification_changed`, `notification_deleted`: what an admin did.
/// `stream_token_created`: a thread's stream was opened to whoever has the token.
/// `keys_changed`: keys were read again. `read`: inputs and outputs were read, if the server is set to
/// tell of that. Refusals and reads that are alike are one entry a minute. Kept for as long as the
/// server is set to, whatever becomes of threads.
#[utoipa::path(
    get, path = "/audit", operation_id = "listAudit", tag = "operations",
    security(("bearer" = ["admin"])),
    params(AuditQuery),
    responses((status = 200, description = "A page of entries", body = AuditList))
)]
pub(in crate::api) async fn list(
    State(api): State<Api>,
    caller: Caller,
    QueryString(query): QueryString<AuditQuery>,
) -> Result<JsonAnswer<AuditList>, Problem> {
    let page = api.handle.audit(caller.namespace(), query).await.map_err(Problem::from);
    Ok(JsonAnswer(page.map_err(Problem::without_pointers)?))
}
