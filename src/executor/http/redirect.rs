//! Follows redirects: the next URL, and the headers and body that go along.

use reqwest::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::request::{ATTEMPT, IDEMPOTENCY_KEY, Outgoing, TRACEPARENT, strip_userinfo};
use crate::model::{Category, Failure, codes};

/// Headers that may follow a redirect to another origin. All others were meant for the first
/// origin: any of them may hold a credential.
const HARMLESS: [&str; 9] = [
    "accept",
    "accept-language",
    "content-encoding",
    "content-language",
    "content-type",
    "user-agent",
    IDEMPOTENCY_KEY,
    ATTEMPT,
    TRACEPARENT,
];

/// Returns the request that the answer asks to make instead; `None` if the answer is no redirect. A
/// request that holds a secret stays with its origin: no header, body or path of it was meant for
/// another.
pub(super) fn follow(
    request: &Outgoing,
    answer: &Response,
    secret: bool,
) -> Result<Option<Outgoing>, Failure> {
    let status = answer.status();
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = answer.headers().get(LOCATION) else { return Ok(None) };
    let text = String::from_utf8_lossy(location.as_bytes());
    let mut url = request.url.join(&text).map_err(|_| refused("it leads to no valid URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refused("it leads to neither http nor https"));
    }
    strip_userinfo(&mut url).map_err(|()| refused("it leads to no host"))?;
    judge(&request.url, &url, secret)?;
    Ok(Some(moved(request, status, url)))
}

fn judge(from: &Url, to: &Url, secret: bool) -> Result<(), Failure> {
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err(refused("it leads from https to http"));
    }
    if secret && from.origin() != to.origin() {
        return Err(refused("it leads to another origin, and the request holds a secret"));
    }
    Ok(())
}

/// Returns the failure of a redirect that is not followed.
pub(super) fn refused(why: &str) -> Failure {
    let message = format!("a redirect was not followed: {why}");
    Failure::permanent(codes::HTTP_STATUS, Category::External, message)
}

fn moved(request: &Outgoing, status: StatusCode, url: Url) -> Outgoing {
    let mut next = request.clone();
    if becomes_get(&request.method, status) {
        next.method = Method::GET;
        next.body = None;
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            next.headers.remove(name);
        }
    }
    if url.origin() != request.url.origin() {
        next.headers = harmless(&next.headers);
    }
    next.url = url;
    next
}

/// Returns whether a redirect turns a method into GET, as in browsers: 303 does so with all but GET
/// and HEAD, 301 and 302 with POST.
fn becomes_get(method: &Method, status: StatusCode) -> bool {
    match status {
        StatusCode::SEE_OTHER => *method != Method::GET && *method != Method::HEAD,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND => *method == Method::POST,
        _ => false,
    }
}

fn harmless(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| HARMLESS.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::http::request::read;
    use crate::executor::http::tests::attempt;

    fn request() -> Outgoing {
        let with = r#"{"method":"POST","url":"http://u:p@a.example/x","json":1,
            "headers":{"Authorization":"Bearer s","X-Api-Key":"s","Accept":"text/plain"}}"#;
        read(&attempt(with)).unwrap().0
    }

    #[test]
    fn a_secret_and_https_are_left_for_no_other_origin() {
        let judged = |from: &str, to: &str, secret: bool| {
            judge(&Url::parse(from).unwrap(), &Url::parse(to).unwrap(), secret).is_ok()
        };
        for (from, to, plain, secret) in [
            ("http://a.example/x", "http://a.example:80/y", true, true),
            ("http://a.example/x", "http://A.example/y", true, true),
            ("http://a.example/x", "http://a.example:81/y", true, false),
            ("http://a.example/x", "http://b.example/y", true, false),
            ("http://a.example/x", "http://a.example./y", true, false),
            ("http://a.example/x", "https://a.example/y", true, false),
            ("https://a.example/x", "http://a.example/y", false, false),
            ("https://a.example/x", "https://a.example/y", true, true),
        ] {
            assert_eq!(judged(from, to, false), plain, "{from} to {to}");
            assert_eq!(judged(from, to, true), secret, "{from} to {to} with a secret");
        }
    }

    #[test]
    fn posts_become_gets_as_in_browsers() {
        let url = Url::parse("http://a.example/y").unwrap();
        for (status, method) in
            [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")]
        {
            let next = moved(&request(), StatusCode::from_u16(status).unwrap(), url.clone());
            assert_eq!(next.method.as_str(), method, "{status}");
            assert_eq!(next.body.is_some(), method == "POST", "{status}");
            assert_eq!(next.headers.contains_key("content-type"), method == "POST");
        }
        assert!(!becomes_get(&Method::HEAD, StatusCode::SEE_OTHER));
        assert!(!becomes_get(&Method::PUT, StatusCode::FOUND));
    }

    #[test]
    fn credentials_stay_with_the_origin_they_were_meant_for() {
        let to = |url: &str| {
            moved(&request(), StatusCode::TEMPORARY_REDIRECT, Url::parse(url).unwrap()).headers
        };
        assert!(to("http://a.example:80/z").contains_key("x-api-key"));
        for other in ["http://b.example/", "https://a.example/", "http://a.example:81/"] {
            let headers = to(other);
            assert!(!headers.contains_key("authorization") && !headers.contains_key("x-api-key"));
            assert!(headers.contains_key("accept") && headers.contains_key("idempotency-key"));
        }
    }
}
