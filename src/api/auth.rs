//! Who calls: API keys as `Bearer`, for browsers also as `Basic`, and stream tokens.
//!
//! Secrets are compared as SHA-256 digests in constant time, over all keys, so that neither their
//! length nor a common prefix shows in the time it takes. `Basic` is taken for reading only: a
//! browser sends it by itself, also on behalf of another site's form.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::extract::path_parameter;
use super::gate::OPEN_ROUTES;
use super::problem::{Problem, UNAUTHENTICATED};
use super::query::Params;
use super::settings::ApiKey;
use super::{Api, token};
use crate::model::ThreadId;

/// The name of a caller when no keys are set.
const ANONYMOUS: &str = "anonymous";
/// Routes that a stream token opens.
const TOKEN_ROUTES: [&str; 2] = ["/stream/{threadId}", "/api/invoke/stream/{threadId}"];

/// Who calls: an API key's name, or `anonymous`.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    name: Arc<str>,
}

impl Caller {
    /// The name, as the journal records it.
    pub(super) fn name(&self) -> String {
        self.name.as_ref().to_owned()
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::internal)
    }
}

/// Lets a request pass if its caller is known, and notes the name.
pub(super) async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match identify(&api, &mut parts).await {
        Ok(name) => {
            parts.extensions.insert(Caller { name });
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => refuse(problem, &parts),
    }
}

async fn identify(api: &Api, parts: &mut Parts) -> Result<Arc<str>, Problem> {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let keys = &api.settings.keys;
    if OPEN_ROUTES.contains(&route.as_str()) {
        return Ok(Arc::from(ANONYMOUS));
    }
    if let Some(name) = by_secret(keys, &parts.headers, &parts.method) {
        return Ok(name);
    }
    let streams = TOKEN_ROUTES.contains(&route.as_str()) && is_read(&parts.method);
    if streams
        && let Some(token) = Params::parse(parts.uri.query().unwrap_or_default())?.text("token")
    {
        return by_token(api, parts, &token).await;
    }
    if keys.is_empty() {
        return Ok(Arc::from(ANONYMOUS));
    }
    Err(Problem::new(&UNAUTHENTICATED, "a valid API key is needed: Authorization: Bearer SECRET"))
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// The key whose secret the `Authorization` header carries.
fn by_secret(keys: &[ApiKey], headers: &HeaderMap, method: &Method) -> Option<Arc<str>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let secret = if scheme.eq_ignore_ascii_case("bearer") {
        rest.trim().to_owned()
    } else if scheme.eq_ignore_ascii_case("basic") && is_read(method) {
        let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        decoded.split_once(':')?.1.to_owned()
    } else {
        return None;
    };
    let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
    let mut found = None;
    for key in keys {
        if bool::from(key.digest.ct_eq(&digest)) {
            found = Some(Arc::clone(&key.name));
        }
    }
    found
}

async fn by_token(api: &Api, parts: &mut Parts, given: &str) -> Result<Arc<str>, Problem> {
    let id = path_parameter(parts, "threadId").await?;
    let thread = ThreadId::parse(&id).map_err(|fault| Problem::invalid(fault.to_string()))?;
    let key = api.handle.token_key().await?;
    if token::verify(&key, &thread, given, api.clock.now()) {
        return Ok(Arc::from("stream-token"));
    }
    Err(Problem::new(&UNAUTHENTICATED, "the stream token is not valid for this thread, or expired"))
}

fn refuse(problem: Problem, parts: &Parts) -> Response {
    let unknown = problem.kind() == &UNAUTHENTICATED;
    let mut response = problem.into_response();
    if unknown {
        let headers = response.headers_mut();
        headers.append(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"rethread\""),
        );
        if is_read(&parts.method) && !is_event_source(&parts.headers) {
            let basic = HeaderValue::from_static("Basic realm=\"rethread\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, basic);
        }
    }
    response
}

/// Whether the answer is for an `EventSource`: a browser must not ask for a password in its name,
/// again at every try.
fn is_event_source(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(method: &Method, authorization: &str) -> Option<String> {
        let keys = [ApiKey::new("ops", "s3cret"), ApiKey::new("ci", "other")];
        let value = HeaderValue::from_str(authorization).unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        by_secret(&keys, &headers, method).map(|name| name.as_ref().to_owned())
    }

    #[test]
    fn a_bearer_secret_names_its_key() {
        assert_eq!(caller(&Method::POST, "Bearer s3cret").as_deref(), Some("ops"));
        assert_eq!(caller(&Method::GET, "bearer other").as_deref(), Some("ci"));
        for bad in ["Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "s3cret", "Token s3cret"]
        {
            assert_eq!(caller(&Method::GET, bad), None, "{bad}");
        }
    }

    #[test]
    fn basic_is_for_reading_only() {
        let basic = format!("Basic {}", STANDARD.encode("anybody:s3cret"));
        assert_eq!(caller(&Method::GET, &basic).as_deref(), Some("ops"));
        assert_eq!(caller(&Method::POST, &basic), None);
        assert_eq!(caller(&Method::DELETE, &basic), None);
        assert_eq!(caller(&Method::GET, "Basic !!!"), None);
    }

    #[test]
    fn a_keys_secret_is_not_in_its_debug_text() {
        let text = format!("{:?}", ApiKey::new("ops", "s3cret"));
        assert_eq!(text, "ApiKey { name: \"ops\", .. }");
    }
}
