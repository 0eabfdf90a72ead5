//! Who calls, and whether that is enough: API keys as `Bearer`, for browsers also as `Basic`, and
//! stream tokens.
//!
//! `Basic` is taken for reading only: a browser sends it by itself, also on behalf of another site's
//! form. The role that a route wants stands with the route (`roles.rs`).

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connections::PeerAddress;
use super::extract::path_parameter;
use super::keys::{ApiKey, Keys};
use super::places::Holding;
use super::problem::{FORBIDDEN, Problem, UNAUTHENTICATED};
use super::query::Params;
use super::quota::{Holder, Unannounced};
use super::roles::Access;
use super::{Api, session, token};
use crate::model::{Namespace, Role, ThreadId};
use crate::runtime::RuntimeError;

/// The name of a caller when no keys are set.
const ANONYMOUS: &str = "anonymous";
/// The name of a caller with a stream token: whoever was given one.
const STREAM_TOKEN: &str = "stream-token";
/// What a caller is told that is not known.
const KEY_NEEDED: &str = "a valid API key is needed: Authorization: Bearer SECRET";
/// Routes that a stream token opens.
const TOKEN_ROUTES: [&str; 2] = ["/stream/{threadId}", "/api/invoke/stream/{threadId}"];

/// Who calls, what he may do and where.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    name: Arc<str>,
    role: Role,
    namespace: Namespace,
    key: Option<ApiKey>,
    known: bool,
}

impl Caller {
    /// A caller whose name is proven.
    pub(super) fn known(name: &str, role: Role, namespace: Namespace) -> Self {
        Self { name: Arc::from(name), role, namespace, key: None, known: true }
    }

    /// The holder of a key.
    fn of_key(key: ApiKey) -> Self {
        Self { key: Some(key.clone()), ..Self::known(&key.name, key.role, key.namespace) }
    }

    /// Anybody, where nobody needs a key: may do everything.
    fn anonymous() -> Self {
        Self { known: false, ..Self::known(ANONYMOUS, Role::Admin, Namespace::default()) }
    }

    /// The name, as the journal records it.
    pub(super) fn name(&self) -> String {
        self.name.as_ref().to_owned()
    }

    /// Whose threads, workflows and notifications the caller sees.
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Whose quotas its requests count for. Many share a name that is nobody's own.
    fn holder(&self) -> Holder {
        let own = self.known && (self.key.is_some() || *self.name != *STREAM_TOKEN);
        let name = own.then(|| Arc::clone(&self.name));
        Holder { name, namespace: self.namespace.clone() }
    }

    /// What the caller may do, if the name is proven.
    pub(super) fn role(&self) -> Option<Role> {
        self.known.then_some(self.role)
    }

    /// Resolves once the caller's key is not taken any more.
    pub(super) async fn revoked(&self, keys: &Keys) {
        match (&self.key, self.known) {
            (Some(key), _) => keys.revoked(Some(key)).await,
            (None, false) => keys.revoked(None).await,
            // Another proof than a key: it says itself how long it lasts.
            (None, true) => std::future::pending().await,
        }
    }
}

impl FromRequestParts<Api> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::internal)
    }
}

/// Lets a request pass if its caller is known and has the role that the route wants.
pub(super) async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match session::enter(&api, &parts).await {
        Ok(None) => {}
        Ok(Some(entered)) => return entered,
        Err(problem) => return refuse(problem, &parts),
    }
    let route = parts.extensions.get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let access = route.as_deref().and_then(|route| api.roles.access(&parts.method, route));
    let route = route.unwrap_or_default();
    let identified = match access {
        Some(Access::Open) => Ok(Caller::anonymous()),
        Some(Access::Role(_) | Access::Own) | None => identify(&api, &mut parts, &route).await,
    };
    let caller = match identified {
        Ok(caller) => caller,
        Err(problem) => return refuse(problem, &parts),
    };
    let (holder, length) = (caller.holder(), body.size_hint().exact());
    let mut response = match api.counters.admit(&holder, &parts.extensions, length) {
        Ok(admission) => {
            if length.is_none() {
                parts.extensions.insert(Unannounced::new(&api.counters, holder));
            }
            let response = match authorize(&api, &mut parts, &caller, access).await {
                Ok(()) => {
                    parts.extensions.insert(caller.namespace.clone());
                    parts.extensions.insert(caller.clone());
                    next.run(Request::from_parts(parts, body)).await
                }
                Err(problem) => problem.into_response(),
            };
            // A place is held until the answer is sent, a stream's until it ends.
            if admission.holds() {
                response.map(|body| Body::new(Holding::new(body, admission)))
            } else {
                response
            }
        }
        Err(problem) => problem.into_response(),
    };
    // For the audit list, which stands before this.
    response.extensions_mut().insert(caller);
    response
}

async fn identify(api: &Api, parts: &mut Parts, route: &str) -> Result<Caller, Problem> {
    let keys = &api.settings.keys;
    let mut unknown = Problem::new(&UNAUTHENTICATED, KEY_NEEDED);
    if !keys.is_empty()
        && let Some(secret) = secret_in(&parts.headers, &parts.method)
    {
        let network = PeerAddress::network_of(&parts.extensions);
        match api.guessers.find(keys, network, &secret) {
            Ok(key) => return Ok(Caller::of_key(key)),
            Err(wrong) => unknown = wrong.problem(KEY_NEEDED),
        }
    }
    let streams = TOKEN_ROUTES.contains(&route) && is_read(&parts.method);
    if streams
        && let Some(token) = Params::parse(parts.uri.query().unwrap_or_default())?.text("token")
    {
        return by_token(api, parts, &token).await;
    }
    if keys.is_empty() {
        return Ok(Caller::anonymous());
    }
    if let Some(key) = session::key_of(api, parts).await? {
        return Ok(Caller::of_key(key));
    }
    Err(unknown)
}

/// Whether the caller's role is enough for the route.
async fn authorize(
    api: &Api,
    parts: &mut Parts,
    caller: &Caller,
    access: Option<Access>,
) -> Result<(), Problem> {
    // What is no route, and a route without this method, says so to whoever is known.
    let Some(access) = access else { return Ok(()) };
    if caller.role < access.least() {
        return Err(forbidden(caller, access.least()));
    }
    if access != Access::Own || caller.role >= Role::Operator {
        return Ok(());
    }
    let text = path_parameter(parts, "threadId").await?;
    // What is no thread's id is refused by the operation, with the rule.
    let Ok(thread) = ThreadId::within(&caller.namespace, &text) else { return Ok(()) };
    match api.handle.started_by(&thread).await {
        Ok(name) if name == *caller.name => Ok(()),
        // The operation says so.
        Err(RuntimeError::ThreadNotFound) => Ok(()),
        Ok(_) => Err(RuntimeError::NotStarter.into()),
        Err(error) => Err(error.into()),
    }
}

fn forbidden(caller: &Caller, wanted: Role) -> Problem {
    let detail = format!("this wants the role {wanted}; the key has the role {}", caller.role);
    Problem::new(&FORBIDDEN, detail)
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// The secret that the `Authorization` header carries.
fn secret_in<'a>(headers: &'a HeaderMap, method: &Method) -> Option<Cow<'a, str>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Some(Cow::Borrowed(rest.trim()))
    } else if scheme.eq_ignore_ascii_case("basic") && is_read(method) {
        let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
        Some(Cow::Owned(decoded.split_once(':')?.1.to_owned()))
    } else {
        None
    }
}

async fn by_token(api: &Api, parts: &mut Parts, given: &str) -> Result<Caller, Problem> {
    let id = path_parameter(parts, "threadId").await?;
    ThreadId::parse(&id).map_err(|fault| Problem::invalid(fault.to_string()))?;
    let key = api.handle.token_key().await?;
    if let Some(thread) = token::verify(&key, &id, given, api.clock.now()) {
        return Ok(Caller::known(STREAM_TOKEN, Role::Reader, thread.namespace()));
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

    fn secret(method: &Method, authorization: &str) -> Option<String> {
        let value = HeaderValue::from_str(authorization).unwrap();
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        secret_in(&headers, method).map(Cow::into_owned)
    }

    #[test]
    fn a_bearer_secret_is_read_whatever_the_method() {
        assert_eq!(secret(&Method::POST, "Bearer s3cret").as_deref(), Some("s3cret"));
        assert_eq!(secret(&Method::GET, "bearer  other ").as_deref(), Some("other"));
        for bad in ["Bearer", "s3cret", "Token s3cret", "Bearers3cret"] {
            assert_eq!(secret(&Method::GET, bad), None, "{bad}");
        }
    }

    #[test]
    fn basic_is_for_reading_only() {
        let basic = format!("Basic {}", STANDARD.encode("anybody:s3cret"));
        assert_eq!(secret(&Method::GET, &basic).as_deref(), Some("s3cret"));
        assert_eq!(secret(&Method::POST, &basic), None);
        assert_eq!(secret(&Method::DELETE, &basic), None);
        assert_eq!(secret(&Method::GET, "Basic !!!"), None);
    }
}
