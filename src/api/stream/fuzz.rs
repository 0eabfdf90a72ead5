//! Fuzzes cursors: whatever position a reader gives, it starts there or is refused.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::cursor::{Cursor, StreamQuery};
use crate::api::query::{FromQuery as _, Params};
use crate::fuzz::fuzz;

/// Reads the number of an event as the contract writes it; stores keep it in 63 bits.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= i64::MAX.unsigned_abs())
}

#[test]
fn any_cursor_is_the_number_of_an_event_or_now_and_the_headers_wins() {
    let tokens =
        ["after=", "after=now", "&token=x", "\n9223372036854775807", "\n", "%30", "+1", "-0"];
    fuzz("cursor", &tokens, |bytes| {
        let (query, header) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&bytes[..end], Some(&bytes[end + 1..])),
            None => (bytes, None),
        };
        let Ok(query) = std::str::from_utf8(query) else { return "no text".to_owned() };
        let Ok(mut params) = Params::parse(query) else { return "no query".to_owned() };
        let read = StreamQuery::read(&mut params);
        if params.finish().is_err() {
            return "refused".to_owned();
        }
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            let Ok(value) = HeaderValue::from_bytes(header) else { return "no header".to_owned() };
            headers.insert(HeaderName::from_static("last-event-id"), value);
        }
        let after = url::form_urlencoded::parse(query.as_bytes());
        let after = after.filter(|(name, _)| name == "after").map(|(_, value)| value).last();
        let wanted = match (header, after.as_deref()) {
            (Some(header), _) => {
                std::str::from_utf8(header).ok().and_then(number).map(Cursor::After)
            }
            (None, Some("now")) => Some(Cursor::Now),
            (None, Some(after)) => number(after).map(Cursor::After),
            (None, None) => Some(Cursor::After(0)),
        };
        let found = read.cursor(&headers).ok();
        assert_eq!(found, wanted, "{query:?} {header:?}");
        format!("{} {}", header.is_some(), found.is_some())
    });
}
