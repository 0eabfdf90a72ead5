//! The request that a step's `with` describes.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, MaxSizeReached,
};
use url::{Url, form_urlencoded};

use super::expect::Expected;
use crate::definition::HTTP_METHODS;
use crate::executor::Attempt;
use crate::executor::text::{invalid, text_of};
use crate::model::{Failure, Json, Node};

/// Headers that belong to the connection: a step that set them could make one request look like
/// two.
const REFUSED_HEADERS: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The header of the idempotency key: the same for every attempt of a step, so that the other side
/// can tell a repeat.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The header of the attempt's number.
pub(super) const ATTEMPT: &str = "x-rethread-attempt";
/// The header of the W3C trace context.
pub(super) const TRACEPARENT: &str = "traceparent";

/// The largest number of headers that are added to those of a step.
const OWN_HEADERS: usize = 16;

/// One request, ready to be sent.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
}

/// Reads an attempt's `with`: the request, and the statuses that are a success.
///
/// In `headers` and `query` a `null` is left out (a skipped step reads as `null`), an array repeats
/// the name, and values that are not text go in as compact JSON.
pub(super) fn read(attempt: &Attempt) -> Result<(Outgoing, Expected), Failure> {
    let with = Node::parse(&attempt.with).map_err(invalid)?;
    let method = method(&with)?;
    let mut url = url(&with)?;
    query(&with, &mut url)?;
    let mut headers = headers(&with)?;
    take_userinfo(&mut url, &mut headers)?;
    let body = body(&with, &mut headers)?;
    mark(attempt, &mut headers)?;
    let expected = with.get("expectStatus").map_or_else(|| Ok(Expected::default()), Expected::read);
    Ok((Outgoing { method, url, headers, body }, expected.map_err(invalid)?))
}

/// Returns the URL of a step's `with`, without reading the rest of it; `None` if there is none that
/// [`read`] would take.
pub(super) fn target(with: &Json) -> Option<Url> {
    #[derive(serde::Deserialize)]
    struct Aim<'a> {
        #[serde(borrow)]
        url: std::borrow::Cow<'a, str>,
    }
    let aim: Aim<'_> = serde_json::from_str(with.as_str()).ok()?;
    Url::parse(&aim.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// Returns the method, written in any case. A template may have chosen it: only methods that a
/// workflow could name are sent.
fn method(with: &Node) -> Result<Method, Failure> {
    let Some(name) = with.get("method") else { return Ok(Method::GET) };
    let name = text_of(name).to_ascii_uppercase();
    let known = HTTP_METHODS.contains(&name.as_str());
    let method = known.then(|| Method::from_bytes(name.as_bytes()).ok()).flatten();
    method.ok_or_else(|| invalid(format!("method is one of {}", HTTP_METHODS.join(", "))))
}

fn url(with: &Node) -> Result<Url, Failure> {
    let Some(Node::String(text)) = with.get("url") else {
        return Err(invalid("url is not a string"));
    };
    let url = Url::parse(text).map_err(|fault| invalid(format!("url: {fault}")))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(url)
    } else {
        Err(invalid(format!("url: the scheme {:?} is neither http nor https", url.scheme())))
    }
}

/// Moves `user:password@` from the URL to the `Authorization` header, unless the step sets that
/// itself.
fn take_userinfo(url: &mut Url, headers: &mut HeaderMap) -> Result<(), Failure> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let user = percent_decoded(url.username());
    let password = percent_decoded(url.password().unwrap_or_default());
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    let mut value = HeaderValue::from_str(&basic).map_err(invalid)?;
    value.set_sensitive(true);
    headers.entry(AUTHORIZATION).or_insert(value);
    strip_userinfo(url).map_err(|()| invalid("url has no host"))
}

fn percent_decoded(text: &str) -> String {
    // Of the characters with a meaning in a form, only `%XX` has one here.
    let form = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    let first = form_urlencoded::parse(form.as_bytes()).next();
    first.map(|(name, _)| name.into_owned()).unwrap_or_default()
}

/// Drops `user:password@` from a URL; fails only for a URL without a host.
pub(super) fn strip_userinfo(url: &mut Url) -> Result<(), ()> {
    url.set_username("")?;
    url.set_password(None)
}

fn query(with: &Node, url: &mut Url) -> Result<(), Failure> {
    let pairs = pairs(with, "query")?;
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    Ok(())
}

fn headers(with: &Node) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(with, "headers")? {
        let known = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("headers: {name:?} is not a header's name")))?;
        if REFUSED_HEADERS.contains(&known.as_str()) {
            return Err(invalid(format!("headers: {name} is set by the connection alone")));
        }
        // The value may be a secret and is not repeated in the message.
        let value = HeaderValue::from_bytes(value.as_bytes())
            .map_err(|_| invalid(format!("headers: the value of {name} has control characters")))?;
        headers.try_append(known, value).map_err(too_many)?;
    }
    headers.try_reserve(OWN_HEADERS).map_err(too_many)?;
    Ok(headers)
}

fn too_many(_: MaxSizeReached) -> Failure {
    invalid("headers: more than a request can have")
}

fn pairs(with: &Node, member: &str) -> Result<Vec<(String, String)>, Failure> {
    let members = match with.get(member) {
        None | Some(Node::Null) => return Ok(Vec::new()),
        Some(Node::Object(members)) => members,
        Some(other) => return Err(invalid(format!("{member} is {}", other.type_name()))),
    };
    let mut pairs = Vec::with_capacity(members.len());
    for (name, value) in members {
        let mut add = |value: &Node| {
            if *value != Node::Null {
                pairs.push((name.clone(), text_of(value).into_owned()));
            }
        };
        if let Node::Array(items) = value {
            items.iter().for_each(add);
        } else {
            add(value);
        }
    }
    Ok(pairs)
}

fn body(with: &Node, headers: &mut HeaderMap) -> Result<Option<Bytes>, Failure> {
    match (with.get("json"), with.get("body")) {
        (Some(_), Some(_)) => Err(invalid("json and body exclude each other")),
        (Some(json), None) => {
            let json: Json = json.to_json();
            let kind = HeaderValue::from_static("application/json");
            headers.entry(CONTENT_TYPE).or_insert(kind);
            Ok(Some(Bytes::copy_from_slice(json.as_str().as_bytes())))
        }
        (None, Some(Node::Null) | None) => Ok(None),
        (None, Some(text)) => Ok(Some(Bytes::from(text_of(text).into_owned()))),
    }
}

/// Adds the headers that every attempt carries; a step cannot set these itself.
fn mark(attempt: &Attempt, headers: &mut HeaderMap) -> Result<(), Failure> {
    let key = HeaderValue::from_str(&attempt.idempotency_key()).map_err(invalid)?;
    headers.insert(IDEMPOTENCY_KEY, key);
    headers.insert(ATTEMPT, HeaderValue::from(attempt.number));
    // A trace context that no header can hold is not worth a failed step.
    if let Some(Ok(context)) = attempt.traceparent.as_deref().map(HeaderValue::from_str) {
        headers.insert(TRACEPARENT, context);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::http::tests::attempt;

    fn outgoing(with: &str) -> Outgoing {
        read(&attempt(with)).unwrap().0
    }

    #[test]
    fn query_values_join_those_of_the_url() {
        let with = r#"{"url":"http://h/p?a=1","query":{"q":"ä &","n":1.10,"l":["x",true],"o":null,"j":{"k":[1]}}}"#;
        let url = outgoing(with).url;
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let expected = [
            ("a", "1"),
            ("q", "ä &"),
            ("n", "1.10"),
            ("l", "x"),
            ("l", "true"),
            ("j", "{\"k\":[1]}"),
        ];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(outgoing(r#"{"url":"http://h/p","query":{}}"#).url.as_str(), "http://h/p");
    }

    #[test]
    fn json_is_sent_as_it_was_written() {
        let request = outgoing(r#"{"method":"post","url":"http://h","json":{"b":1.0,"a":[null]}}"#);
        assert_eq!(request.method, Method::POST);
        assert_eq!(request.body.unwrap(), "{\"b\":1.0,\"a\":[null]}");
        assert_eq!(request.headers["content-type"], "application/json");
        let own = r#"{"url":"http://h","json":1,"headers":{"Content-Type":"application/x+json"}}"#;
        assert_eq!(outgoing(own).headers["content-type"], "application/x+json");
    }

    #[test]
    fn more_headers_than_a_request_can_have_are_refused() {
        for count in [24_570, 40_000] {
            let headers: Vec<_> = (0..count).map(|n| format!("\"x{n}\":1")).collect();
            let with = format!(r#"{{"url":"http://h","headers":{{{}}}}}"#, headers.join(","));
            let refused = read(&attempt(&with)).unwrap_err();
            assert!(refused.message.contains("more than"), "{refused:?}");
        }
    }

    #[test]
    fn every_attempt_carries_the_steps_key_and_its_number() {
        let mut attempt = attempt(
            r#"{"url":"http://h","headers":{"idempotency-key":"mine","X-A":["1","2"],"X-B":null}}"#,
        );
        attempt.number = 3;
        attempt.traceparent = Some("00-ab-cd-01".to_owned());
        let headers = read(&attempt).unwrap().0.headers;
        assert_eq!(headers["idempotency-key"], "t1/s1");
        assert_eq!(headers["x-rethread-attempt"], "3");
        assert_eq!(headers["traceparent"], "00-ab-cd-01");
        assert_eq!(headers.get_all("x-a").iter().count(), 2);
        assert!(!headers.contains_key("x-b"));
    }

    #[test]
    fn credentials_in_the_url_become_a_header() {
        let request = outgoing(r#"{"url":"http://us%40r:p%3Aw@h/p"}"#);
        assert_eq!(request.url.as_str(), "http://h/p");
        assert_eq!(request.headers["authorization"], "Basic dXNAcjpwOnc=");
        let own = r#"{"url":"http://u:p@h/p","headers":{"Authorization":"Bearer x"}}"#;
        assert_eq!(outgoing(own).headers["authorization"], "Bearer x");
    }

    #[test]
    fn a_method_that_a_template_chose_is_one_that_a_workflow_may_name() {
        for known in ["GET", "head", "Post", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let with = format!(r#"{{"url":"http://h","method":"{known}"}}"#);
            assert_eq!(outgoing(&with).method.as_str(), known.to_ascii_uppercase());
        }
        for refused in
            ["CONNECT", "TRACE", "trace", "PROPFIND", "PRI", "GETS", "", " GET", "PAT\u{0}CH"]
        {
            let with = serde_json::json!({ "url": "http://h", "method": refused }).to_string();
            let failure = read(&attempt(&with)).unwrap_err();
            let refusal = (failure.code.as_str(), failure.recoverable);
            assert_eq!(refusal, ("invalid_configuration", false), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_for_good() {
        for bad in [
            "{}",
            r#"{"url":7}"#,
            r#"{"url":"not a url"}"#,
            r#"{"url":"file:///etc/passwd"}"#,
            r#"{"url":"http://h","method":"A B"}"#,
            r#"{"url":"http://h","headers":["a"]}"#,
            r#"{"url":"http://h","headers":{"a b":"c"}}"#,
            r#"{"url":"http://h","headers":{"a":"b\r\nc: d"}}"#,
            r#"{"url":"http://h","headers":{"Transfer-Encoding":"chunked"}}"#,
            r#"{"url":"http://h","json":1,"body":"x"}"#,
            r#"{"url":"http://h","expectStatus":"ok"}"#,
            "[]",
        ] {
            let failure = read(&attempt(bad)).unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.recoverable),
                ("invalid_configuration", false),
                "{bad}"
            );
        }
    }
}
