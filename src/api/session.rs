//! Sessions of browsers: a cookie that stands for an API key.
//!
//! A page's address with `?key=SECRET` sets the cookie and redirects to the address without the
//! secret, so that no history, no bookmark and no log keeps the secret. The cookie is stateless, as
//! stream tokens are: a seal (`seal.rs`) of the key's digest and the moment it expires, under a key that
//! all replicas share. It is valid only as long as the API key it was given for.

use std::time::Duration;

use axum::extract::MatchedPath;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Api;
use super::connections::PeerAddress;
use super::gate::{is_from_own_page, is_of_other_site};
use super::keys::ApiKey;
use super::problem::{CROSS_SITE, Problem};
use super::seal::{self, SEAL_BYTES};
use crate::model::{HostPort, Timestamp};

/// The time that a cookie is accepted: a day's work. The browser drops it earlier, with its
/// session.
const LIFETIME: Duration = Duration::from_hours(24);
/// Keeps these signatures apart from any other use of the key.
const PURPOSE: &[u8] = b"rethread browser session v2\0";
/// The bytes of the expiry at the front of a cookie.
const EXPIRY_BYTES: usize = 8;
/// The characters of a cookie: its bytes in base64.
const COOKIE_CHARS: usize = (EXPIRY_BYTES + SEAL_BYTES) / 3 * 4;
/// The parameter that carries an API key's secret, to pages alone.
const PARAMETER: &str = "key";
/// The pages that can be entered with a key.
const PAGES: [&str; 2] = ["/", "/ui/threads/{threadId}"];

/// Answers a page's address with a key in it: a cookie, and a redirect to the address without the
/// key. Returns `None` if this is not such an address, or no key is needed.
pub(super) async fn enter(api: &Api, parts: &Parts) -> Result<Option<Response>, Problem> {
    let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if parts.method != Method::GET || !PAGES.contains(&route) || !api.settings.keys.are_needed() {
        return Ok(None);
    }
    let query = parts.uri.query().unwrap_or_default();
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let Some((_, secret)) = pairs.iter().find(|(name, _)| name == PARAMETER) else {
        return Ok(None);
    };
    // A link of another site would sign its reader in as another caller.
    if is_of_other_site(&parts.headers) {
        let detail = "a page of another site leads here with a key: open the address by hand";
        return Err(Problem::new(&CROSS_SITE, detail));
    }
    let network = PeerAddress::network_of(&parts.extensions);
    let found = api.guessers.find(&api.settings.keys, network, secret);
    let key = found.map_err(|wrong| wrong.problem("the key in the address is not valid"))?;
    let shared = api.handle.token_key().await?;
    let value = sign(&shared, &key.digest, api.clock.now().plus(LIFETIME));
    let others = pairs.iter().filter(|(name, _)| name != PARAMETER);
    let rest = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(others).finish();
    let path = parts.uri.path();
    let clean = if rest.is_empty() { path.to_owned() } else { format!("{path}?{rest}") };
    let secure = if is_encrypted(&parts.headers) { "; Secure" } else { "" };
    let cookie = value.map(|value| {
        let name = cookie_name(&parts.headers);
        format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
    });
    let headers: [(HeaderName, HeaderValue); 3] = [
        (header::LOCATION, HeaderValue::try_from(clean).map_err(|_| Problem::internal())?),
        (
            header::SET_COOKIE,
            cookie.and_then(|text| text.try_into().ok()).ok_or_else(Problem::internal)?,
        ),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok(Some((StatusCode::SEE_OTHER, headers).into_response()))
}

/// Returns the API key that the request's cookie stands for: the first of the name, whatever else comes
/// with it. A browser sends cookies by itself, so for changes the request must say that a page of this
/// very origin made it.
pub(super) async fn key_of(api: &Api, parts: &Parts) -> Result<Option<ApiKey>, Problem> {
    let name = cookie_name(&parts.headers);
    let reads = [Method::GET, Method::HEAD].contains(&parts.method);
    let Some(value) = cookie(&parts.headers, &name) else { return Ok(None) };
    if !reads && !is_from_own_page(parts) {
        return Ok(None);
    }
    let Some(given) = Given::read(value, api.clock.now()) else { return Ok(None) };
    let digest = given.open(&api.handle.token_key().await?);
    Ok(digest.and_then(|digest| api.settings.keys.find(&digest, |_| true)))
}

/// Returns the name of the cookie. Browsers send a host's cookies to all of its ports, so two
/// servers on one machine must not take each other's.
fn cookie_name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    match host.and_then(HostPort::parse).and_then(|host| host.port()) {
        Some(port) => format!("rethread-{port}"),
        None => "rethread".to_owned(),
    }
}

/// Returns the first cookie of a name. More of them are not looked at, since each costs work.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Returns whether a proxy says that the browser's side of it is encrypted.
fn is_encrypted(headers: &HeaderMap) -> bool {
    headers.get("x-forwarded-proto").is_some_and(|value| value == "https")
}

fn sign(shared: &[u8; 32], digest: &[u8; 32], expires: Timestamp) -> Option<String> {
    let expiry = expires.millis().to_be_bytes();
    let seal = seal::seal(shared, &[PURPOSE, &expiry], digest)?;
    Some(URL_SAFE_NO_PAD.encode([&expiry[..], &seal].concat()))
}

/// A cookie as it came; its seal is not opened yet.
#[derive(Debug)]
struct Given {
    expiry: [u8; EXPIRY_BYTES],
    seal: [u8; SEAL_BYTES],
}

impl Given {
    /// Reads a cookie; `None` if it is not one, or has expired.
    fn read(value: &str, now: Timestamp) -> Option<Self> {
        if value.len() != COOKIE_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (expiry, rest) = bytes.split_first_chunk::<EXPIRY_BYTES>()?;
        let seal = *rest.first_chunk::<SEAL_BYTES>()?;
        let valid = now < Timestamp::from_millis(i64::from_be_bytes(*expiry));
        valid.then_some(Self { expiry: *expiry, seal })
    }

    /// Returns the digest of the key that it stands for, if this server made it.
    fn open(&self, shared: &[u8; 32]) -> Option<[u8; 32]> {
        seal::open(shared, &[PURPOSE, &self.expiry], &self.seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn a_cookie_stands_for_its_key_until_it_expires() {
        let value = sign(&[7; 32], &[1; 32], NOW.plus(LIFETIME)).unwrap();
        let opened = |shared: u8, value: &str, now| Given::read(value, now)?.open(&[shared; 32]);
        assert_eq!(opened(7, &value, NOW), Some([1; 32]));
        assert_eq!(opened(8, &value, NOW), None, "another server");
        assert!(Given::read(&value, NOW.plus(LIFETIME)).is_none(), "later");
        for end in 0..value.len() {
            assert!(Given::read(&value[..end], NOW).is_none(), "{end}");
        }
        let longer = format!("{value}AAAA");
        assert!(Given::read(&longer, NOW).is_none());
    }

    #[test]
    fn each_port_of_a_host_has_a_cookie_of_its_own() {
        let headers = |host: &str, cookie: &str| {
            let value = |text: &str| HeaderValue::from_str(text).unwrap();
            HeaderMap::from_iter([(header::HOST, value(host)), (header::COOKIE, value(cookie))])
        };
        let found = |host: &str| {
            let headers = headers(host, "a=b; rethread-8080=x; rethread=y;rethread-8080=z");
            let name = cookie_name(&headers);
            cookie(&headers, &name).map(str::to_owned)
        };
        assert_eq!(found("localhost:8080").as_deref(), Some("x"), "the first of two");
        assert_eq!(found("flows.example").as_deref(), Some("y"));
        assert_eq!(found("localhost:1"), None);
    }
}
