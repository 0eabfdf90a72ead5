//! Authentication and authorization: API keys as `Bearer`, for browsers also as `Basic`, tokens of
//! an issuer as `Bearer` alone, and stream tokens.
//!
//! `Basic` is accepted for reading only: a browser sends it by itself, also on behalf of another
//! site's form. The role that a route wants is declared with the route (`roles.rs`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

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
use super::holding::Holding;
use super::keys::{ApiKey, Keys};
use super::problem::{FORBIDDEN, Problem, UNAUTHENTICATED};
use super::query::Params;
use super::quota::{Holder, Unannounced};
use super::roles::Access;
use super::token::{Given, Validity};
use super::{Api, session, token};
use crate::identity::{Claimed, is_token};
use crate::model::{Clock, Namespace, Role, ThreadId, Timestamp};
use crate::runtime::RuntimeError;

/// The name of a caller when no keys are set.
const ANONYMOUS: &str = "anonymous";
/// The name of every caller with a stream token.
const STREAM_TOKEN: &str = "stream-token";
/// The detail of a refusal of an unknown caller.
const KEY_NEEDED: &str = "a valid API key is needed: Authorization: Bearer SECRET";
/// The longest sleep between looks at the clock until a token expires.
const LOOK_AT_CLOCK: Duration = Duration::from_mins(1);
/// The routes that a stream token opens.
const TOKEN_ROUTES: [&str; 2] = ["/stream/{threadId}", "/api/invoke/stream/{threadId}"];

/// The caller of a request, with a role and a namespace.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    name: Arc<str>,
    /// The role; `None` may do nothing.
    role: Option<Role>,
    namespace: Namespace,
    proof: Proof,
}

/// The proof of a caller's name, which decides how long the name is valid.
#[derive(Debug, Clone)]
enum Proof {
    /// No proof: the server needs no key.
    None,
    /// A proof that nothing revokes.
    Own,
    /// A key, for as long as it is accepted.
    Key(ApiKey),
    /// A token of the issuer, until this time.
    Token(Timestamp),
}

impl Caller {
    /// Makes a caller whose name is proven.
    pub(super) fn known(name: &str, role: Role, namespace: Namespace) -> Self {
        Self { name: Arc::from(name), role: Some(role), namespace, proof: Proof::Own }
    }

    /// Makes the holder of a key.
    fn of_key(key: ApiKey) -> Self {
        let caller = Self::known(&key.name, key.role, key.namespace.clone());
        Self { proof: Proof::Key(key), ..caller }
    }

    /// Makes the bearer of a token.
    fn of_token(claimed: Claimed) -> Self {
        let Claimed { name, role, namespace, expires } = claimed;
        Self { name: Arc::from(name), role, namespace, proof: Proof::Token(expires) }
    }

    /// Makes the anonymous caller of a server without keys, who may do everything.
    fn anonymous() -> Self {
        Self { proof: Proof::None, ..Self::known(ANONYMOUS, Role::Admin, Namespace::default()) }
    }

    /// Returns the name, as the journal records it.
    pub(super) fn name(&self) -> String {
        self.name.as_ref().to_owned()
    }

    /// Returns the namespace whose threads, workflows and notifications the caller sees.
    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Returns the holder of the quotas for the caller's requests: unnamed if callers share the
    /// name.
    fn holder(&self) -> Holder {
        let own = !matches!(self.proof, Proof::None) && *self.name != *STREAM_TOKEN;
        let name = own.then(|| Arc::clone(&self.name));
        Holder { name, namespace: self.namespace.clone() }
    }

    /// Returns the caller's role, if its name is proven.
    pub(super) fn role(&self) -> Option<Role> {
        self.role.filter(|_| !matches!(self.proof, Proof::None))
    }

    /// Makes a token that opens a thread's stream until `latest`, for as long as the caller may
    /// read it, and returns it with its expiry.
    pub(super) fn stream_token(
        &self,
        shared: &[u8; 32],
        thread: &ThreadId,
        latest: Timestamp,
    ) -> Option<(String, Timestamp)> {
        let (holder, ends) = match &self.proof {
            Proof::None | Proof::Own => (None, None),
            Proof::Key(key) => (Some(&key.digest), None),
            Proof::Token(ends) => (None, Some(*ends)),
        };
        let expires = ends.map_or(latest, |ends| latest.min(ends));
        let token = token::sign(shared, thread, Validity { expires, ends }, holder)?;
        Some((token, expires))
    }

    /// Resolves once the caller's key or token is not accepted any more.
    pub(super) async fn revoked(&self, keys: &Keys, clock: &dyn Clock) {
        match &self.proof {
            Proof::None => keys.revoked(None).await,
            Proof::Own => std::future::pending().await,
            Proof::Key(key) => keys.revoked(Some(key)).await,
            Proof::Token(expires) => expired(*expires, clock).await,
        }
    }
}

/// Resolves at that time by the wall clock, which may be changed meanwhile: the issuer has no other.
async fn expired(at: Timestamp, clock: &dyn Clock) {
    while clock.wall() < at {
        tokio::time::sleep(at.since(clock.wall()).min(LOOK_AT_CLOCK)).await;
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
            // Places are held until the answer, or the stream, has ended.
            if admission.holds() {
                response.map(|body| Body::new(Holding::new(body, admission)))
            } else {
                response
            }
        }
        Err(problem) => problem.into_response(),
    };
    // The audit list reads the caller from the answer, since its layer encloses this one.
    response.extensions_mut().insert(caller.namespace.clone());
    response.extensions_mut().insert(caller);
    response
}

async fn identify(api: &Api, parts: &mut Parts, route: &str) -> Result<Caller, Problem> {
    let keys = &api.settings.keys;
    // Before the keys: a token that is none of the keys must not count as a guess.
    if let Some(issuer) = &api.settings.issuer
        && let Some(token) = bearer(&parts.headers).filter(|text| is_token(text))
    {
        return Ok(Caller::of_token(issuer.verify(token).await?));
    }
    let mut unknown = Problem::new(&UNAUTHENTICATED, KEY_NEEDED);
    if keys.are_needed()
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
    if !keys.are_needed() {
        return Ok(Caller::anonymous());
    }
    if let Some(key) = session::key_of(api, parts).await? {
        return Ok(Caller::of_key(key));
    }
    Err(unknown)
}

/// Checks that the caller's role is enough for the route.
async fn authorize(
    api: &Api,
    parts: &mut Parts,
    caller: &Caller,
    access: Option<Access>,
) -> Result<(), Problem> {
    // An unknown route or method is reported to every known caller.
    let Some(access) = access else { return Ok(()) };
    if caller.role < Some(access.least()) {
        return Err(forbidden(caller, access.least()));
    }
    if access != Access::Own || caller.role >= Some(Role::Operator) {
        return Ok(());
    }
    let text = path_parameter(parts, "threadId").await?;
    // The operation refuses a text that is not a thread's id, and gives the rule.
    let Ok(thread) = ThreadId::within(&caller.namespace, &text) else { return Ok(()) };
    match api.handle.started_by(&thread).await {
        Ok(name) if name == *caller.name => Ok(()),
        // The operation reports this.
        Err(RuntimeError::ThreadNotFound) => Ok(()),
        Ok(_) => Err(RuntimeError::NotStarter.into()),
        Err(error) => Err(error.into()),
    }
}

fn forbidden(caller: &Caller, wanted: Role) -> Problem {
    let has = match (caller.role, &caller.proof) {
        (Some(role), Proof::Token(_)) => format!("the token has the role {role}"),
        (Some(role), _) => format!("the key has the role {role}"),
        (None, _) => "the token names no role of this server".to_owned(),
    };
    Problem::new(&FORBIDDEN, format!("this wants the role {wanted}; {has}"))
}

fn is_read(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// Returns the scheme and the credentials of the `Authorization` header.
fn authorization(headers: &HeaderMap) -> Option<(&str, &str)> {
    let (scheme, rest) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some((scheme, rest.trim()))
}

/// Returns the `Bearer` token of the `Authorization` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, rest) = authorization(headers)?;
    scheme.eq_ignore_ascii_case("bearer").then_some(rest)
}

/// Returns the secret that the `Authorization` header carries.
fn secret_in<'a>(headers: &'a HeaderMap, method: &Method) -> Option<Cow<'a, str>> {
    if let Some(secret) = bearer(headers) {
        return Some(Cow::Borrowed(secret));
    }
    let (scheme, rest) = authorization(headers)?;
    if scheme.eq_ignore_ascii_case("basic") && is_read(method) {
        let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
        Some(Cow::Owned(decoded.split_once(':')?.1.to_owned()))
    } else {
        None
    }
}

async fn by_token(api: &Api, parts: &mut Parts, given: &str) -> Result<Caller, Problem> {
    let id = path_parameter(parts, "threadId").await?;
    ThreadId::parse(&id).map_err(|fault| Problem::invalid(fault.to_string()))?;
    if let Some(given) = Given::read(&id, given, api.clock.now())
        && let Some(proof) = proof_of(api, &api.handle.token_key().await?, &given)
    {
        let caller = Caller::known(STREAM_TOKEN, Role::Reader, given.thread.namespace());
        return Ok(Caller { proof, ..caller });
    }
    Err(Problem::new(&UNAUTHENTICATED, "the stream token is not valid for this thread, or expired"))
}

/// Returns the proof behind a stream token, if the caller that asked for it may still read. The
/// proof decides how long the token's streams go on.
fn proof_of(api: &Api, shared: &[u8; 32], given: &Given) -> Option<Proof> {
    match given.open(shared)? {
        Some(digest) => api.settings.keys.find(&digest, |_| true).map(Proof::Key),
        None => Some(given.validity.ends.map_or(Proof::Own, Proof::Token)),
    }
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

/// Returns whether an `EventSource` sent the request: the browser must not ask for a password at
/// each of its tries.
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
