//! Fuzzes requests: every request is answered, and a refusal is a problem document.

use super::*;
use crate::api::query::{Params, parse_seq};
use crate::api::token::{Given, Validity, sign};
use crate::fuzz::fuzz;
use crate::model::ThreadId;

/// The longest explanation of a refusal, in bytes: a hundred faults, each of which quotes little.
const MAX_REFUSAL: usize = 256 * 1024;

/// Parses a text such as `GET /path`, headers one a line, an empty line, and the body.
fn parsed(bytes: &[u8]) -> Option<Request<Body>> {
    let split = bytes.windows(2).position(|two| two == b"\n\n")?;
    let (head, body) = (&bytes[..split], &bytes[split + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    request.body(Body::from(body.to_vec())).ok()
}

/// Returns the answer, unless it waits for the runtime, which does not exist here.
async fn answered(app: Router, request: Request<Body>) -> Option<Answer> {
    let sent = tokio::time::timeout(Duration::from_mins(10), app.oneshot(request)).await;
    let (parts, body) = sent.ok()?.unwrap().into_parts();
    // An open stream has no end.
    let body = if parts.status.is_success() { Body::empty() } else { body };
    Some(answer(parts, body).await)
}

#[test]
fn any_request_is_answered_and_a_refusal_says_why_and_opens_nothing_without_a_key() {
    let tokens = [
        "GET ",
        "POST ",
        "PUT ",
        "PATCH ",
        "DELETE ",
        "HEAD ",
        "OPTIONS ",
        "/threads/t1",
        "/stream/t1",
        "/invoke/async",
        "/workflows",
        "/notifications",
        "?limit=1",
        "&after=now",
        "?wait=1s",
        "%2F",
        "%00",
        "\nlast-event-id: 1",
        "\nif-match: \"1\"",
        "\nif-none-match: *",
        "\nidempotency-key: k",
        "\norigin: http://evil",
        "\nhost: localhost",
        "\nsec-fetch-site: cross-site",
        "\nauthorization: Bearer x",
        "\nauthorization: Basic eDp5",
        "\ncookie: rethread=x",
        "\nforwarded: for=x",
        "?token=AAAA",
        "\ncontent-type: application/json",
        "\"threadId\":\"t1\"",
        "\"workflow\":\"n@1\"",
        "\"metadata\":{}",
    ];
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let made = |keys| {
        let handle = Handle::unreached(Arc::new(Fixed), Arc::new(Fixed));
        let settings = ApiSettings { keys, ..ApiSettings::default() };
        router(Api::new(handle, settings, Arc::new(Fixed), Arc::new(Fixed)), Router::new())
    };
    let open = made(Keys::default());
    let locked = made(Keys::new(vec![ApiKey::new("tester", "qX7-never-sent")]));
    fuzz("request", &tokens, |bytes| {
        let Some(request) = parsed(bytes) else { return "no request".to_owned() };
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let Some(answer) = runtime.block_on(answered(open.clone(), request)) else {
            return "waits".to_owned();
        };
        let outcome = check(&answer, &method);
        let keyless = parsed(bytes).unwrap();
        let answer = runtime.block_on(answered(locked.clone(), keyless)).unwrap();
        check(&answer, &method);
        let probe = ["/health/live", "/health/ready"].contains(&path.as_str());
        assert!(probe || answer.status >= 400, "{method} {path} without a key: {}", answer.status);
        outcome
    });
}

fn check(answer: &Answer, method: &axum::http::Method) -> String {
    if answer.status < 400 {
        return answer.status.to_string();
    }
    assert!(answer.status != 500, "{}", answer.text);
    assert!(answer.text.len() <= MAX_REFUSAL, "{} bytes", answer.text.len());
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    if method != axum::http::Method::HEAD {
        assert_eq!(answer.json["status"], answer.status);
        for member in ["type", "title", "detail", "code", "requestId"] {
            assert!(answer.json[member].is_string(), "{member} of {}", answer.text);
        }
    }
    format!("{} {}", answer.json["code"].as_str().unwrap_or_default(), answer.json["detail"])
}

#[test]
fn no_token_but_a_signed_one_opens_a_stream() {
    const KEY: [u8; 32] = [7; 32];
    let now = Timestamp::from_millis(1_000_000);
    let late = now.plus(Duration::from_mins(1));
    let threads = ["t1", "t2", "team/t1"].map(|key| ThreadId::from_key(key).unwrap());
    let until =
        |thread, expires| sign(&KEY, thread, Validity { expires, ends: None }, None).unwrap();
    let signed: Vec<_> = threads.iter().map(|thread| until(thread, late)).collect();
    let old = until(&threads[0], now);
    let tokens: Vec<&str> =
        signed.iter().map(String::as_str).chain(["t1\n", "t2\n", &old]).collect();
    fuzz("token", &tokens, |bytes| {
        let Some((id, token)) =
            std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n'))
        else {
            return "no token".to_owned();
        };
        let given = Given::read(id, token, now).filter(|given| given.open(&KEY) == Some(None));
        let Some(Given { thread, .. }) = given else { return "shut".to_owned() };
        let at = threads.iter().position(|known| *known == thread);
        assert_eq!(at.map(|at| signed[at].as_str()), Some(token), "opens {thread:?}");
        assert_eq!(thread.text(), id);
        format!("opens {}", if thread.namespace().is_default() { "ours" } else { "theirs" })
    });
}

#[test]
fn any_query_string_is_read_as_forms_are_or_refused() {
    fuzz(
        "query",
        &["after=", "limit=", "%41", "%C3%BC", "+", "&&", "metadata.a=", "wait=10s"],
        |bytes| {
            let Ok(text) = std::str::from_utf8(bytes) else { return "no text".to_owned() };
            let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            assert_eq!(parse_seq(text), number.filter(|_| digits).map(i64::cast_unsigned));
            let Ok(mut params) = Params::parse(text) else { return "a bad escape".to_owned() };
            let form: Vec<(String, String)> =
                url::form_urlencoded::parse(bytes).into_owned().collect();
            let named: Vec<_> = form.into_iter().filter(|(name, _)| !name.is_empty()).collect();
            assert_eq!(params.below("", usize::MAX), named);
            let mut params = Params::parse(text).unwrap();
            let (limit, wait) = (params.limit(1), params.wait());
            assert!(
                (1..=200).contains(&limit)
                    && wait.is_none_or(|wait| wait <= Duration::from_mins(1))
            );
            let (after, _) = (params.seq("after"), params.boolean("reads"));
            assert!(after.is_none_or(|after| i64::try_from(after).is_ok()));
            format!("{:?}", params.finish().is_ok())
        },
    );
}
