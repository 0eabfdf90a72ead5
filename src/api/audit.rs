//! Records refusals, deletions and changes of access in the audit list. If the settings say so, it
//! also records calls that read inputs and outputs.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::Api;
use super::auth::Caller;
use super::connections::PeerAddress;
use super::problem::{Problem, TOO_MANY_WRONG_KEYS};
use super::request::label;
use crate::runtime::AuditEvent;

/// The longest path in an entry, in bytes.
const MAX_ABOUT: usize = 512;
/// The action of a stream token: a reader may make any number, so like ones are counted.
const TOKEN: &str = "stream_token_created";
/// The routes whose answers hold inputs or outputs of threads.
const OUTPUTS: [&str; 14] = [
    "/invoke",
    "/interventions",
    "/threads/{threadId}",
    "/threads/{threadId}/explain",
    "/status/{threadId}",
    "/api/invoke-status/status/{threadId}",
    "/stream",
    "/stream/{threadId}",
    "/api/invoke/stream/{threadId}",
    "/threads/{threadId}/events",
    "/threads/{threadId}/diagnostics",
    "/threads/{threadId}/checkpoints",
    "/threads/{threadId}/diff/{otherId}",
    "/ui/threads/{threadId}",
];

/// Records the outcome of a request before its answer goes out.
pub(super) async fn record(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let peer = request.extensions().get::<PeerAddress>().copied();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    // A client may send any text of any length as the method.
    let verb = label(&method);
    let response = next.run(request).await;
    let status = response.status();
    let route = route.as_deref().unwrap_or("other");
    let about = |place: &str| format!("{verb} {}", cut(place));
    let (action, about, counted) = match change(&method, route, status) {
        Some(action) => (action, about(&subject(&path, &response)), action == TOKEN),
        None if is_refusal(&response) => ("refused", about(route), true),
        None if api.settings.audit_reads && status.is_success() && OUTPUTS.contains(&route) => {
            ("read", about(&subject(&path, &response)), true)
        }
        None => return response,
    };
    let caller = response.extensions().get::<Caller>();
    let problem = response.extensions().get::<std::sync::Arc<Problem>>();
    let event = AuditEvent {
        namespace: caller.map(|caller| caller.namespace().clone()).unwrap_or_default().to_string(),
        by: caller.map_or_else(|| "anonymous".to_owned(), Caller::name),
        role: caller.and_then(Caller::role),
        action: action.to_owned(),
        about,
        status: Some(status.as_u16()),
        detail: problem.map(|problem| problem.kind().code.to_owned()),
        address: peer.map(|PeerAddress(peer)| peer.ip().to_string()),
    };
    if counted {
        api.handle.note_audit(event);
    } else {
        api.handle.record_audit(event).await;
    }
    response
}

/// Returns the name of a request's change in the audit list, if it has one.
fn change(method: &Method, route: &str, status: StatusCode) -> Option<&'static str> {
    if !status.is_success() {
        return None;
    }
    match (method.as_str(), route) {
        ("DELETE", "/threads/{threadId}") => Some("thread_deleted"),
        // 200: the text is the newest version already.
        ("POST", "/workflows") if status == StatusCode::CREATED => Some("workflow_stored"),
        ("POST", "/notifications") => Some("notification_created"),
        ("POST", "/threads/{threadId}/stream-token") => Some(TOKEN),
        ("PATCH", "/notifications/{notificationId}") => Some("notification_changed"),
        ("DELETE", "/notifications/{notificationId}") => Some("notification_deleted"),
        _ => None,
    }
}

fn is_refusal(response: &Response) -> bool {
    let refusals =
        [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::MISDIRECTED_REQUEST];
    let problem = response.extensions().get::<std::sync::Arc<Problem>>();
    refusals.contains(&response.status())
        || problem.is_some_and(|problem| problem.kind() == &TOO_MANY_WRONG_KEYS)
}

/// Returns the subject of a request, as a person would search for it: the thing that it made
/// (`Location`), or the address that it named. Characters that would break a line stay encoded.
fn subject(path: &str, response: &Response) -> String {
    let made = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let encoded = made.unwrap_or(path);
    let decoded = percent_decode_str(encoded).decode_utf8();
    match decoded {
        Ok(text) if !text.contains(char::is_control) => text.into_owned(),
        _ => encoded.to_owned(),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=MAX_ABOUT.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}
