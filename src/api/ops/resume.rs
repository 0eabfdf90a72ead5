//! `POST /threads/{threadId}/resume`: sets a failed, aborted or paused thread going again.

use axum::extract::State;
use axum::response::Response;
use utoipa::ToSchema;

use super::control::{Change, reason};
use super::invoke::{InvokeAnswer, answer};
use crate::api::Api;
use crate::api::extract::{Body, FromBody, ThreadPath};
use crate::api::fields::Fields;
use crate::api::problem::Problem;
use crate::model::{Json, StepId};
use crate::runtime::ResumeHow;

/// How and why the thread goes on.
#[derive(Debug, ToSchema)]
#[schema(as = ResumeRequest)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::api) struct ResumeBody {
    /// Run this step and all that comes after it again.
    #[schema(value_type = Option<String>)]
    from_step: Option<StepId>,
    /// Do without these steps.
    #[schema(value_type = Option<Vec<String>>)]
    skip: Vec<StepId>,
    /// The input of whatever still has to run.
    #[schema(value_type = Option<serde_json::Value>)]
    input: Option<Json>,
    /// Recorded in the journal.
    #[schema(max_length = 2048)]
    reason: Option<String>,
}

impl FromBody for ResumeBody {
    const MEMBERS: &'static [&'static str] = &["fromStep", "skip", "input", "reason"];
    const OPTIONAL: bool = true;

    fn read(fields: &mut Fields<'_>) -> Self {
        Self {
            from_step: fields.string("fromStep").and_then(|id| step(fields, "fromStep", &id)),
            skip: skipped(fields),
            input: fields.json("input"),
            reason: reason(fields),
        }
    }
}

fn step(fields: &mut Fields<'_>, name: &str, id: &str) -> Option<StepId> {
    match StepId::parse(id) {
        Ok(id) => Some(id),
        Err(fault) => {
            fields.fault(name, fault.to_string());
            None
        }
    }
}

fn skipped(fields: &mut Fields<'_>) -> Vec<StepId> {
    let Some(list) = fields.value("skip") else { return Vec::new() };
    if let Ok(ids) = list.decode::<Vec<String>>() {
        return ids.iter().filter_map(|id| step(fields, "skip", id)).collect();
    }
    fields.fault("skip", "must be a list of step ids");
    Vec::new()
}

/// Continue a failed, aborted or paused thread
///
/// Completed steps never run again, unless `fromStep` says so: that step and all that comes after
/// it then stand before their first attempt, with the same idempotency keys.
#[utoipa::path(
    post, path = "/threads/{threadId}/resume", operation_id = "resumeThread", tag = "control",
    security(("bearer" = ["own"])),
    params(
        ("threadId" = String, Path, description = "The thread"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the client acts on; 412 if the thread has changed since"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats one call"),
    ),
    request_body(content = Option<ResumeBody>, description = "May be left out"),
    responses(
        (status = 202, description = "The thread goes on", body = InvokeAnswer),
        (status = 200, description = "Nothing had to be changed", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn resume(
    State(api): State<Api>,
    ThreadPath(thread): ThreadPath,
    change: Change,
    Body(body): Body<ResumeBody>,
) -> Result<Response, Problem> {
    let ResumeBody { from_step, skip, input, reason } = body;
    let how = ResumeHow { from_step, skip, input };
    Ok(answer(&api.handle.resume(&thread, how, change.because(reason)).await?))
}
