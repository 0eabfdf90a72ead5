//! The gate before everything else: checks the host that a request was meant for, and the page that
//! made a browser send it.
//!
//! A page can make a browser call any address, this machine's too. It can point a name of its own
//! at that address and then read the answers as its own (DNS rebinding): the `Host` shows that. It
//! can post a form: the `Origin` shows that. Probes pass by any name, since they learn nothing.

use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::connections::Reserved;
use super::problem::{CROSS_SITE, FORWARDED, MISDIRECTED, Problem, TOO_MANY_CONNECTIONS};
use crate::model::HostPort;

/// The routes that say nothing but whether the process serves: open to probes by any name, without
/// a key, on any connection.
pub(super) const OPEN_ROUTES: [&str; 2] = ["/health/live", "/health/ready"];
/// The headers by which a proxy says that a request came from somewhere else.
const FORWARDING: [&str; 3] = ["forwarded", "via", "x-real-ip"];
/// The prefix of more such headers: `X-Forwarded-For`, `X-Forwarded-Host` and others.
const FORWARDING_PREFIX: &str = "x-forwarded-";

/// The `Retry-After` for a client that found every connection taken.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lets a request pass if it is addressed to this server, and no foreign page sent it to change
/// something.
pub(super) async fn gate(State(api): State<Api>, request: Request, next: Next) -> Response {
    match check(&api, &request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn check(api: &Api, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let hosts = hosts(headers, request.uri(), request.version())?;
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if !OPEN_ROUTES.contains(&route) {
        if request.extensions().get::<Reserved>().is_some() {
            let detail = "this connection is one too many, of all or of its address";
            return Err(Problem::new(&TOO_MANY_CONNECTIONS, detail).retry_after(RETRY_AFTER));
        }
        if !api.settings.keys.are_needed() && headers.keys().any(is_forwarding) {
            return Err(Problem::new(
                &FORWARDED,
                "a server without API keys answers to its own machine, not to a proxy's callers",
            ));
        }
        if !is_own(api, &hosts) {
            return Err(Problem::new(&MISDIRECTED, "this server does not go by the name in Host"));
        }
    }
    if !is_safe(request.method()) && !is_welcome(api, headers, &hosts) {
        return Err(Problem::new(&CROSS_SITE, "browsers may change things from this origin alone"));
    }
    Ok(())
}

/// Returns the hosts that a request names: in its `Host`, and in a target that is a whole URL,
/// which takes precedence (RFC 9112, 3.2). Only HTTP/1.0 may do without.
fn hosts(headers: &HeaderMap, uri: &Uri, version: Version) -> Result<Vec<HostPort>, Problem> {
    let mut fields = headers.get_all(header::HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    let target = uri.authority().map(|authority| authority.as_str().as_bytes());
    let needed = version == Version::HTTP_11 || (version > Version::HTTP_11 && target.is_none());
    if second.is_some() || (field.is_none() && needed) {
        return Err(Problem::invalid("Host: exactly one is needed"));
    }
    let named = field.map(HeaderValue::as_bytes).into_iter().chain(target);
    let host = |bytes| std::str::from_utf8(bytes).ok().and_then(HostPort::parse);
    named.map(host).collect::<Option<_>>().ok_or_else(|| Problem::invalid("Host: not a host"))
}

/// Returns whether this server goes by all these names. Where names are checked at all, there must
/// be at least one.
fn is_own(api: &Api, hosts: &[HostPort]) -> bool {
    let settings = &api.settings;
    let own = |host: &HostPort| {
        if settings.keys.are_needed() {
            settings.hosts.iter().any(|own| own.covers(host))
        } else {
            host.is_loopback() || settings.address.as_ref().is_some_and(|own| own.covers(host))
        }
    };
    let any = settings.keys.are_needed() && settings.hosts.is_empty();
    any || (!hosts.is_empty() && hosts.iter().all(own))
}

fn is_forwarding(name: &HeaderName) -> bool {
    FORWARDING.contains(&name.as_str()) || name.as_str().starts_with(FORWARDING_PREFIX)
}

/// Returns whether a method only reads (RFC 9110, 9.2.1).
fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Returns whether no browser sent this, or one did for a page that may: a page of this server, or
/// of an origin in the settings.
fn is_welcome(api: &Api, headers: &HeaderMap, hosts: &[HostPort]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let (origin, second) = (origins.next(), origins.next());
    if second.is_some() {
        return false;
    }
    if origin.is_some_and(|origin| api.settings.origins.allow(origin)) {
        return true;
    }
    // Browsers that send no Origin with a form send this instead, and some send both.
    !is_of_other_site(headers) && origin.is_none_or(|origin| is_same(origin, hosts))
}

/// Returns whether a browser says that a page of another site made it send this.
pub(super) fn is_of_other_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| site != b"same-origin" && site != b"none")
}

/// Returns whether an origin is that of the request's own target.
fn is_same(origin: &HeaderValue, hosts: &[HostPort]) -> bool {
    let Some((origin, usual)) = origin.to_str().ok().and_then(HostPort::of_origin) else {
        return false;
    };
    !hosts.is_empty() && hosts.iter().all(|host| host.is_same(&origin, usual))
}

/// Returns whether the request says that a page of this very origin made it. A cookie, which a
/// browser sends by itself, needs that to change anything.
pub(super) fn is_from_own_page(parts: &Parts) -> bool {
    let Ok(hosts) = hosts(&parts.headers, &parts.uri, parts.version) else { return false };
    match parts.headers.get(header::ORIGIN) {
        Some(origin) => is_same(origin, &hosts),
        None => parts.headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin"),
    }
}
