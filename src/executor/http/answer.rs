//! The outcome of an answer: its output, or the failure for its status.

use std::error::Error;
use std::io;
use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::client::SILENCE_TIMEOUT;
use super::expect::Expected;
use super::fault;
use crate::executor::text::{excerpt, output_invalid, too_large};
use crate::executor::{AttemptError, Pulse, Redactor, Room};
use crate::model::{Category, Failure, Json, Timestamp, codes, quote};

/// The most bytes read of a failed answer, and characters quoted from it: enough for a person to
/// see what the other side said.
const MAX_EXCERPT_BYTES: usize = 4096;
const MAX_EXCERPT_CHARS: usize = 300;

/// Timeout of reading that excerpt: the failure itself is known already.
const EXCERPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the output of an answer with an expected status: `{status, headers, body}`.
///
/// Header names are in lower case, repeated ones joined with `, `. If the answer says it is JSON,
/// the body is that text, exact but compacted (`null` if empty). Otherwise it is a string, with
/// U+FFFD for bytes that are not UTF-8. Each piece of the body counts as a heartbeat.
pub(super) async fn output(
    mut answer: Response,
    (limit, room, redactor): (usize, &Room, &Redactor),
    pulse: &Pulse,
) -> Result<Json, Failure> {
    let host = host(&answer);
    let announced = answer.content_length().unwrap_or(0);
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(too_large("the answer", limit));
    }
    // Nothing is read before there is room for all of it.
    room.take(announced).await?;
    let mut body = Vec::new();
    let broke = |error: &(dyn Error + 'static)| fault::broke(error, &host, redactor);
    loop {
        let read = tokio::time::timeout(SILENCE_TIMEOUT, answer.chunk()).await;
        let read = read.map_err(|late| broke(&io::Error::new(io::ErrorKind::TimedOut, late)))?;
        let Some(chunk) = read.map_err(|error| broke(&error))? else { break };
        pulse.beat();
        if body.len() + chunk.len() > limit {
            return Err(too_large("the answer", limit));
        }
        room.take((body.len() + chunk.len()).saturating_sub(announced.max(body.len()))).await?;
        body.extend_from_slice(&chunk);
    }
    let mut out = format!("{{\"status\":{},\"headers\":", answer.status().as_u16());
    write_headers(answer.headers(), &mut out);
    out.push_str(",\"body\":");
    write_body(&body, is_json(answer.headers()), &mut out)?;
    out.push('}');
    if out.len() > limit {
        return Err(too_large("the output", limit));
    }
    Json::trusted(out).map_err(|fault| output_invalid(fault.to_string()))
}

/// Returns the memory that an answer's headers take until the output is made: twice their size, as
/// their buffer grew.
pub(super) fn head_bytes(headers: &HeaderMap) -> usize {
    let one = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(one).sum::<usize>().saturating_mul(2)
}

/// Returns the failure for an unexpected status.
pub(super) async fn unexpected(
    answer: Response,
    now: Timestamp,
    redactor: &Redactor,
) -> AttemptError {
    let status = answer.status();
    let again = is_recoverable(status);
    let retry_after = if again { retry_after(answer.headers(), now) } else { None };
    let mut message = format!("HTTP {status}");
    let said = said(answer, redactor).await;
    if !said.is_empty() {
        message.push_str(": ");
        message.push_str(&said);
    }
    let category = category(status);
    let failure = if again {
        Failure::recoverable(codes::HTTP_STATUS, category, message)
    } else {
        Failure::permanent(codes::HTTP_STATUS, category, message)
    };
    AttemptError { failure, retry_after }
}

/// Returns whether the status of the answer counts as success.
pub(super) fn is_expected(answer: &Response, expected: &Expected) -> bool {
    expected.covers(answer.status().as_u16())
}

/// Returns the host and port of the answer's URL, for messages.
fn host(answer: &Response) -> String {
    fault::host_and_port(answer.url())
}

fn write_headers(headers: &HeaderMap, out: &mut String) {
    out.push('{');
    for (index, name) in headers.keys().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quote(name.as_str(), out);
        out.push(':');
        let values = headers.get_all(name).iter();
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        quote(&values.join(", "), out);
    }
    out.push('}');
}

fn write_body(body: &[u8], json: bool, out: &mut String) -> Result<(), Failure> {
    if !json {
        quote(&String::from_utf8_lossy(body), out);
        return Ok(());
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.iter().all(u8::is_ascii_whitespace) {
        out.push_str("null");
        return Ok(());
    }
    let broken = |why: String| {
        output_invalid(format!("the answer says it is JSON, and is not what can be read: {why}"))
    };
    let text = std::str::from_utf8(body).map_err(|fault| broken(fault.to_string()))?;
    let json = Json::parse(text).map_err(|fault| broken(fault.to_string()))?;
    out.push_str(json.as_str());
    Ok(())
}

/// Returns whether the media type is JSON: `application/json`, `text/json`, or ends in `+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

/// Returns whether a status is worth a retry: HTTP 408, 425, 429 and 5xx.
fn is_recoverable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

const fn category(status: StatusCode) -> Category {
    match status.as_u16() {
        400 | 422 => Category::Validation,
        401 => Category::Authentication,
        403 => Category::Authorization,
        404 | 410 => Category::NotFound,
        408 | 504 => Category::Timeout,
        409 | 412 => Category::Conflict,
        429 => Category::RateLimit,
        _ => Category::External,
    }
}

/// Returns the wait that the answer asks for, in seconds or as a date. A date is compared with the
/// answer's own `Date` if it has one, so that clocks may differ.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| {
        let date = DateTime::parse_from_rfc2822(text).ok()?;
        Some(Timestamp::from_millis(date.timestamp_millis()))
    };
    let theirs = headers.get(DATE).and_then(|value| value.to_str().ok()).and_then(date);
    Some(date(text)?.since(theirs.unwrap_or(now)))
}

/// Returns the beginning of a failed answer's body, without secrets: an error page may repeat the
/// request.
pub(super) async fn said(mut answer: Response, redactor: &Redactor) -> String {
    let (mut bytes, mut whole) = (Vec::new(), false);
    let reading = async {
        while bytes.len() < MAX_EXCERPT_BYTES {
            match answer.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => {
                    whole = true;
                    break;
                }
                Err(_broken) => break,
            }
        }
    };
    if tokio::time::timeout(EXCERPT_TIMEOUT, reading).await.is_err() {
        tracing::debug!("the body of a failed answer came late; what came is shown");
    }
    whole &= bytes.len() <= MAX_EXCERPT_BYTES;
    bytes.truncate(MAX_EXCERPT_BYTES);
    let text = String::from_utf8_lossy(&bytes);
    let text = if whole { redactor.redact(&text) } else { redactor.redact_beginning(&text).into() };
    excerpt(&text, MAX_EXCERPT_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn media_types_of_json_are_known() {
        for (kind, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json", true),
            ("text/html", false),
            ("application/jsonl", false),
            ("application/x-ndjson", false),
        ] {
            assert_eq!(is_json(&headers(&[("content-type", kind)])), json, "{kind}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = Timestamp::parse("1994-11-06T08:49:00Z").unwrap();
        let after = |pairs: &[_]| retry_after(&headers(pairs), now);
        assert_eq!(after(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        let date = ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(after(&[date]), Some(Duration::from_secs(37)));
        let theirs = ("date", "Sun, 06 Nov 1994 08:49:27 GMT");
        assert_eq!(after(&[date, theirs]), Some(Duration::from_secs(10)));
        assert_eq!(after(&[("retry-after", "-3")]), None);
        assert_eq!(after(&[("retry-after", "soon")]), None);
        assert_eq!(after(&[]), None);
    }

    #[test]
    fn bodies_are_exact_json_or_text() {
        let body = |bytes: &[u8], json: bool| {
            let mut out = String::new();
            write_body(bytes, json, &mut out).map(|()| out)
        };
        assert_eq!(body(b" {\"b\": 1.0, \"a\":[]}\n", true).unwrap(), "{\"b\":1.0,\"a\":[]}");
        assert_eq!(body(b"", true).unwrap(), "null");
        assert_eq!(body(b"", false).unwrap(), "\"\"");
        assert_eq!(body(b"\xef\xbb\xbf1", true).unwrap(), "1");
        assert_eq!(body(b"{\"a\":1}", false).unwrap(), "\"{\\\"a\\\":1}\"");
        assert_eq!(body(b"a\xff", false).unwrap(), "\"a\u{fffd}\"");
        for bad in [&b"{"[..], b"\"\\ud800\"", b"\"\xff\"", "[".repeat(200).as_bytes()] {
            let failure = body(bad, true).unwrap_err();
            assert_eq!((failure.code.as_str(), failure.recoverable), ("output_invalid", false));
        }
    }
}
