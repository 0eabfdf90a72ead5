//! `GET /audit`: lists refusals, changes and deletions, with their callers.

use axum::Json as JsonAnswer;
use axum::extract::State;

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::problem::Problem;
use crate::api::query::{DEFAULT_LIMIT, FromQuery, MAX_LONG_LIMIT, Params, QueryString};
use crate::contract::AuditList;
use crate::model::Timestamp;
use crate::runtime::AuditQuery as Wanted;

/// Which entries to list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct AuditQuery {
    /// Only those that happened then or later: a time in RFC 3339.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Only what this key did; `anonymous` is whoever had none.
    by: Option<String>,
    /// Only this action, such as `refused`.
    action: Option<String>,
    /// Items per page.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 50)]
    limit: usize,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

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
    let AuditQuery { since, by, action, limit, cursor } = query;
    let namespace = caller.namespace().to_string();
    let query = Wanted { namespace, since, by, action, limit, cursor };
    let page = api.handle.audit(query).await.map_err(Problem::from);
    Ok(JsonAnswer(page.map_err(Problem::without_pointers)?))
}
