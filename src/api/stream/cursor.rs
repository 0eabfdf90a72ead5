//! The place where a reader of a thread's stream starts.

use axum::http::HeaderMap;

use crate::api::problem::Problem;
use crate::api::query::{FromQuery, Params, SEQ_RULE, parse_seq};
use crate::model::Seq;

/// The place where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// Behind this event; 0 is the start.
    After(Seq),
    /// Behind the last event at the time of the request.
    Now,
}

/// Where the stream starts.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct StreamQuery {
    /// Starts behind this event, or with `now` behind the last one; `Last-Event-ID` wins.
    #[param(value_type = Option<String>)]
    after: Option<Cursor>,
    /// A stream token, for clients that cannot set headers.
    #[expect(dead_code, reason = "checked by the authentication")]
    token: Option<String>,
}

impl FromQuery for StreamQuery {
    fn read(query: &mut Params) -> Self {
        Self { after: query.parsed("after", parse), token: query.text("token") }
    }
}

impl StreamQuery {
    /// Returns the cursor of a request; the start if none was given.
    pub(super) fn cursor(&self, headers: &HeaderMap) -> Result<Cursor, Problem> {
        let Some(value) = headers.get("last-event-id") else {
            return Ok(self.after.unwrap_or(Cursor::After(0)));
        };
        let seq = value.to_str().ok().and_then(parse_seq);
        seq.map(Cursor::After).ok_or_else(|| Problem::invalid(format!("Last-Event-ID {SEQ_RULE}")))
    }
}

fn parse(text: &str) -> Result<Cursor, String> {
    if text == "now" {
        return Ok(Cursor::Now);
    }
    parse_seq(text).map(Cursor::After).ok_or_else(|| format!("{SEQ_RULE}, or now"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn cursor(query: &str, header: Option<&'static str>) -> Result<Cursor, Problem> {
        let mut params = Params::parse(query)?;
        let read = StreamQuery::read(&mut params);
        params.finish()?;
        let name = HeaderName::from_static("last-event-id");
        read.cursor(
            &header.map(|text| (name, HeaderValue::from_static(text))).into_iter().collect(),
        )
    }

    #[test]
    fn the_header_wins_over_the_query() {
        assert_eq!(cursor("", None), Ok(Cursor::After(0)));
        assert_eq!(cursor("after=4", None), Ok(Cursor::After(4)));
        assert_eq!(cursor("after=now", None), Ok(Cursor::Now));
        assert_eq!(cursor("after=4&token=x", Some("7")), Ok(Cursor::After(7)));
        assert_eq!(cursor("after=now", Some("0")), Ok(Cursor::After(0)));
    }

    #[test]
    fn a_malformed_cursor_is_refused() {
        for bad in ["after=", "after=-1", "after=x", "after=1.5", "after=9223372036854775808"] {
            assert!(cursor(bad, None).is_err(), "{bad}");
        }
        for bad in ["", "abc", "-1", "1 2", "now", "99999999999999999999"] {
            assert!(cursor("", Some(bad)).is_err(), "{bad}");
        }
    }
}
