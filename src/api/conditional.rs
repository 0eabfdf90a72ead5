//! `ETag`, `If-None-Match` and `If-Match`: a thread's version is the number of its last event.

use axum::http::{HeaderMap, HeaderValue, header};

use super::problem::Problem;
use super::query::parse_seq;
use crate::model::Seq;

/// A version that no thread has: every thread has an event from its beginning.
const NO_VERSION: Seq = 0;

/// Returns the `ETag` of a thread whose last event is `seq`.
pub(super) fn etag(seq: Seq) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{seq}\"")).ok()
}

/// Returns whether the client has this version already.
pub(super) fn has_version(headers: &HeaderMap, seq: Seq) -> bool {
    let current = format!("\"{seq}\"");
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current
    })
}

/// Returns the version that a change is meant for; `*` means any.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Seq>, Problem> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let rule = "If-Match must be one ETag of this thread, such as \"5\", or *";
    let text = value.to_str().unwrap_or_default().trim();
    if values.next().is_some() {
        return Err(Problem::invalid(rule));
    }
    if text == "*" {
        return Ok(None);
    }
    let (weak, strong) = (text.starts_with("W/"), text.strip_prefix("W/").unwrap_or(text));
    let tag = strong.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let tag = tag.filter(|tag| !tag.contains('"')).ok_or_else(|| Problem::invalid(rule))?;
    // A weak tag matches nothing here (RFC 9110), nor does one that no thread ever had.
    Ok(Some(parse_seq(tag).filter(|_| !weak).unwrap_or(NO_VERSION)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_known_version_is_recognised_in_any_list() {
        for text in ["\"5\"", "W/\"5\"", "\"4\", \"5\"", "*"] {
            assert!(has_version(&headers(header::IF_NONE_MATCH, text), 5), "{text}");
        }
        for text in ["\"4\"", "5", "", "\"55\""] {
            assert!(!has_version(&headers(header::IF_NONE_MATCH, text), 5), "{text}");
        }
    }

    #[test]
    fn if_match_is_one_version_or_any() {
        let read = |text: &str| if_match(&headers(header::IF_MATCH, text));
        assert_eq!(read("\"5\""), Ok(Some(5)));
        assert_eq!(read("*"), Ok(None));
        assert_eq!(if_match(&HeaderMap::new()), Ok(None));
        for other in ["W/\"5\"", "\"x\"", "\"\"", "\"05x\""] {
            assert_eq!(read(other), Ok(Some(NO_VERSION)), "{other}");
        }
        for bad in ["5", "\"5\", \"6\"", "\"", "W/5", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
