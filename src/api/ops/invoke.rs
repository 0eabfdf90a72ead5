//! `POST /invoke/async` starts a thread; `POST /invoke` also waits for its end.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json as JsonAnswer};
use serde::Serialize;

use crate::api::Api;
use crate::api::auth::Caller;
use crate::api::extract::{Body, FromBody, idempotency_key, traceparent};
use crate::api::memory::{Held, Smaller};
use crate::api::problem::Problem;
use crate::api::query::{FromQuery, MAX_WAIT, NoParams, Params, QueryString};
use crate::contract::{
    InvokeAnswer, InvokeRequest, Invoked, StatusDocument, WorkflowCheck, WorkflowSource,
};
use crate::model::{Fault, Namespace, Pointer, ThreadId};
use crate::runtime::{Invoke, RuntimeError};

/// The time that `POST /invoke` waits if the client does not give one.
const DEFAULT_WAIT: Duration = Duration::from_secs(30);

/// How long to wait.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct InvokeQuery {
    /// How long to wait for the end: milliseconds or a text such as `30s`, at most 60 s (longer
    /// is cut). Wins over `Prefer: wait=SECONDS`; 30 s if neither is given.
    #[param(value_type = Option<String>)]
    wait: Option<Duration>,
}

impl FromQuery for InvokeQuery {
    fn read(query: &mut Params) -> Self {
        Self { wait: query.wait() }
    }
}

/// Start a thread in the background
///
/// The thread is durable before the answer is sent. The same `threadId` again answers with the
/// thread as it stands, and sets it going if it had failed, was aborted or paused. With
/// `Idempotency-Key` and no `threadId`, repeats within 24 h answer with the first thread.
#[utoipa::path(
    post, path = "/invoke/async", operation_id = "invokeAsync", tag = "invoke",
    security(("bearer" = ["invoker"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes repeats within 24 h one thread")),
    request_body(content = InvokeRequest, description = "What to run"),
    responses(
        (status = 202, description = "Accepted: created or resumed", body = InvokeAnswer,
         headers(("Location" = String, description = "The thread's status"),
                 ("Idempotent-Replayed" = Option<String>, description = "`true` if an earlier request made the thread"))),
        (status = 200, description = "The thread exists already; nothing was changed", body = InvokeAnswer),
    )
)]
pub(in crate::api) async fn invoke_async(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
    _: QueryString<NoParams>,
    Body(request): Body<InvokeRequest>,
) -> Result<Response, Problem> {
    let invoke = by(&caller, &headers, request)?;
    Ok(answer(&api.handle.invoke(invoke).await?))
}

/// Start a thread and wait for its end
///
/// Like `POST /invoke/async`, but answers with the status document once the thread has ended. If
/// the wait is over before, or the server has no memory left for the document, the answer is the
/// 202 of `POST /invoke/async`.
#[utoipa::path(
    post, path = "/invoke", operation_id = "invoke", tag = "invoke",
    security(("bearer" = ["invoker"])),
    params(
        InvokeQuery,
        ("Prefer" = Option<String>, Header, description = "`wait=SECONDS`, as in RFC 7240"),
        ("Idempotency-Key" = Option<String>, Header, description = "Makes repeats within 24 h one thread"),
    ),
    request_body(content = InvokeRequest, description = "What to run"),
    responses(
        (status = 200, description = "The thread has ended", body = StatusDocument,
         headers(("Location" = String, description = "The thread's status"))),
        (status = 202, description = "The thread goes on", body = InvokeAnswer,
         headers(("Location" = String, description = "The thread's status"))),
    )
)]
pub(in crate::api) async fn invoke(
    State(api): State<Api>,
    who: (Caller, Extension<Held>),
    headers: HeaderMap,
    QueryString(query): QueryString<InvokeQuery>,
    Body(request): Body<InvokeRequest>,
) -> Result<Response, Problem> {
    let (caller, Extension(held)) = who;
    let wait = query.wait.or_else(|| preferred_wait(&headers)).unwrap_or(DEFAULT_WAIT);
    let invoke = by(&caller, &headers, request)?;
    let mut invoked = api.handle.invoke(invoke).await?;
    held.release();
    // It is accepted, so whatever cannot be had from now on is no refusal: the answer is that of a
    // thread that goes on.
    let ended = ended(&api, &invoked.thread_id, wait).await;
    if let Ok(thread) = api.handle.thread(&invoked.thread_id).await {
        invoked.status = thread.status;
    }
    let mut goes_on = answer(&invoked);
    *goes_on.status_mut() = StatusCode::ACCEPTED;
    let Some(document) = ended else { return Ok(goes_on) };
    let mut response = (StatusCode::OK, JsonAnswer(document)).into_response();
    let body =
        serde_json::to_vec(&InvokeAnswer::from(&invoked)).map_err(|_| Problem::internal())?;
    response.extensions_mut().insert(Smaller(StatusCode::ACCEPTED, body.into()));
    decorate(&mut response, &invoked);
    Ok(response)
}

/// Waits for the end of a thread; `None` if it does not end within `wait`, or cannot be shown now.
async fn ended(api: &Api, thread: &ThreadId, wait: Duration) -> Option<StatusDocument> {
    let ended = api.handle.wait_for_end(thread, wait).await.ok()?;
    if !ended {
        return None;
    }
    api.handle.status(thread, None).await.ok()
}

impl FromBody for InvokeRequest {
    async fn faults_within(&self, api: &Api, namespace: &Namespace) -> Vec<Fault> {
        let Some(WorkflowSource::Inline(workflow)) = &self.workflow else { return Vec::new() };
        let (workflow, input) = (workflow.clone(), self.input.clone());
        let check = WorkflowCheck { workflow, input, at: Pointer::root().key("workflow") };
        match api.handle.validate(namespace, &check).await {
            Err(RuntimeError::Invalid(faults)) => faults,
            _ => Vec::new(),
        }
    }
}

/// Adds to a request what comes from outside its body.
fn by(caller: &Caller, headers: &HeaderMap, request: InvokeRequest) -> Result<Invoke, Problem> {
    Ok(Invoke {
        request,
        namespace: caller.namespace().clone(),
        idempotency_key: idempotency_key(headers)?,
        by: caller.name(),
        role: caller.role(),
        traceparent: traceparent(headers),
    })
}

/// Makes the answer about a thread: 202 if the call set it going, else 200.
pub(super) fn answer(invoked: &Invoked) -> Response {
    answer_with(invoked, InvokeAnswer::from(invoked))
}

/// Makes the same answer with another body.
pub(super) fn answer_with(invoked: &Invoked, body: impl Serialize) -> Response {
    let moved = invoked.created || invoked.resumed;
    let status = if moved { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut response = (status, JsonAnswer(body)).into_response();
    decorate(&mut response, invoked);
    response
}

fn decorate(response: &mut Response, invoked: &Invoked) {
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(format!("/status/{}", invoked.thread_id)) {
        headers.insert(header::LOCATION, location);
    }
    if invoked.replayed {
        let name = HeaderName::from_static("idempotent-replayed");
        headers.insert(name, HeaderValue::from_static("true"));
    }
}

/// Returns the `wait=SECONDS` of a `Prefer` header. An unreadable one is ignored, as RFC 7240
/// wants.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = values.flat_map(|text| text.split(','));
    let wait = preferences.find_map(|one| {
        let (name, seconds) = one.split_once('=')?;
        let hit = name.trim().eq_ignore_ascii_case("wait");
        seconds.split(';').next()?.trim().trim_matches('"').parse().ok().filter(|_| hit)
    });
    wait.map(|seconds| Duration::from_secs(seconds).min(MAX_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ThreadStatus;

    fn invoked(created: bool, resumed: bool, replayed: bool) -> Invoked {
        Invoked {
            thread_id: ThreadId::parse("t1").unwrap(),
            status: ThreadStatus::Queued,
            created,
            resumed,
            replayed,
            estimated_duration: Some(Duration::from_millis(1500)),
            last_seq: 1,
        }
    }

    #[test]
    fn what_set_something_going_is_202_and_what_did_not_is_200() {
        for (created, resumed, status) in
            [(true, false, 202), (false, true, 202), (false, false, 200)]
        {
            let response = answer(&invoked(created, resumed, false));
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["location"], "/status/t1");
            assert!(!response.headers().contains_key("idempotent-replayed"));
        }
    }

    #[test]
    fn a_repeat_of_an_idempotency_key_says_so() {
        let response = answer(&invoked(false, false, true));
        assert_eq!(response.headers()["idempotent-replayed"], "true");
    }

    #[test]
    fn the_preferred_wait_is_read_as_rfc_7240_has_it() {
        let wait = |text: &'static str| {
            preferred_wait(&HeaderMap::from_iter([(
                HeaderName::from_static("prefer"),
                HeaderValue::from_static(text),
            )]))
        };
        assert_eq!(wait("wait=30"), Some(Duration::from_secs(30)));
        assert_eq!(wait("respond-async, Wait = \"5\"; x=1"), Some(Duration::from_secs(5)));
        assert_eq!(wait("wait=100000"), Some(MAX_WAIT));
        assert_eq!(wait("wait=soon"), None);
        assert_eq!(wait("respond-async"), None);
    }
}
