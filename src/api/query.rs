//! Reads query strings strictly: bad escapes, unknown or repeated names and bad values are 400.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Api;
use super::problem::Problem;
use crate::model::{Seq, parse_duration};

/// The most items of a list in one answer: bounds the memory of a request.
pub(super) const MAX_LIMIT: usize = 200;
/// The most items of a list whose items are small, or whose pages are bounded in bytes as well:
/// enough for the whole history of most threads in one answer.
pub(super) const MAX_LONG_LIMIT: usize = 1_000;
/// The items of a list without a `limit`.
pub(super) const DEFAULT_LIMIT: usize = 50;
/// The most members of the metadata that one list looks at. Nobody tells threads apart by more, and
/// each is one more table for the store to search and to join.
pub(super) const MAX_METADATA_FILTERS: usize = 8;
/// The longest time that an answer is held back; below the idle timeout of common proxies.
pub(super) const MAX_WAIT: Duration = Duration::from_mins(1);

/// A query string that was read whole.
pub(super) struct QueryString<T>(pub(super) T);

/// A type that a query string is read into.
pub(super) trait FromQuery: Sized {
    /// Takes the known parameters.
    fn read(query: &mut Params) -> Self;
}

/// A route without parameters.
pub(super) struct NoParams;

impl FromQuery for NoParams {
    fn read(_: &mut Params) -> Self {
        Self
    }
}

impl<T: FromQuery> FromRequestParts<Api> for QueryString<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Problem> {
        let mut params = Params::parse(parts.uri.query().unwrap_or_default())?;
        let value = T::read(&mut params);
        params.finish()?;
        Ok(Self(value))
    }
}

/// The parameters that have not been read yet.
#[derive(Debug)]
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    faults: Vec<String>,
}

impl Params {
    /// Splits and decodes a query string.
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let bad = || Problem::invalid("the query string has a bad percent-encoding");
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(name).ok_or_else(bad)?, decode(value).ok_or_else(bad)?));
        }
        // No name has U+0000, and not every database can compare with it.
        if pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(Problem::invalid("the query string has U+0000"));
        }
        Ok(Self { pairs, faults: Vec::new() })
    }

    /// Takes the text of a parameter.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let mut found = Vec::new();
        self.pairs.retain_mut(|(key, value)| {
            let hit = key == name;
            if hit {
                found.push(std::mem::take(value));
            }
            !hit
        });
        if found.len() > 1 {
            self.fault(name, "is given twice");
        }
        found.pop()
    }

    /// Takes a parameter and reads it with `parse`, whose error says what is allowed.
    pub(super) fn parsed<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(detail) => {
                self.fault(name, &detail);
                None
            }
        }
    }

    /// Takes `true` or `false`.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.parsed(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    /// Takes the number of an event.
    pub(super) fn seq(&mut self, name: &str) -> Option<Seq> {
        self.parsed(name, |text| parse_seq(text).ok_or_else(|| SEQ_RULE.to_owned()))
    }

    /// Takes the items per page: 1 to [`MAX_LIMIT`].
    pub(super) fn limit(&mut self, default: usize) -> usize {
        self.limit_to(MAX_LIMIT, default)
    }

    /// Takes the items per page: 1 to `most`.
    pub(super) fn limit_to(&mut self, most: usize, default: usize) -> usize {
        self.parsed("limit", |text| match text.parse::<usize>() {
            Ok(limit) if (1..=most).contains(&limit) => Ok(limit),
            Ok(_) | Err(_) => Err(format!("must be a whole number from 1 to {most}")),
        })
        .unwrap_or(default)
    }

    /// Takes the time to hold the answer back, cut to [`MAX_WAIT`].
    pub(super) fn wait(&mut self) -> Option<Duration> {
        let wait = self.parsed("wait", |text| match text.parse::<u64>() {
            Ok(millis) => Ok(Duration::from_millis(millis)),
            Err(_) => parse_duration(text),
        });
        wait.map(|wait| wait.min(MAX_WAIT))
    }

    /// Takes every parameter whose name starts with `prefix`, without the prefix: at most `most`.
    pub(super) fn below(&mut self, prefix: &str, most: usize) -> Vec<(String, String)> {
        let (found, rest) = std::mem::take(&mut self.pairs)
            .into_iter()
            .partition(|(name, _)| name.len() > prefix.len() && name.starts_with(prefix));
        self.pairs = rest;
        let found: Vec<(String, String)> = found;
        if found.len() > most {
            self.fault(&format!("{prefix}KEY"), &format!("is given at most {most} times"));
        }
        found
            .into_iter()
            .map(|(name, value)| (name.split_at(prefix.len()).1.to_owned(), value))
            .collect()
    }

    /// Notes that a parameter is wrong.
    pub(super) fn fault(&mut self, name: &str, detail: &str) {
        self.faults.push(format!("{name}: {detail}"));
    }

    /// Ends the reading: parameters that are left over are faults.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.fault(&name, "is not a parameter of this route");
        }
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(Problem::invalid(format!("in the query string, {}", self.faults.join("; "))))
        }
    }
}

/// The rule for the number of an event, as refusals quote it.
pub(super) const SEQ_RULE: &str = "must be the number of an event: 0, 1, 2, …";

/// Reads the number of an event; signed 64-bit at most, as stores keep it.
pub(super) fn parse_seq(text: &str) -> Option<Seq> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seq: Seq = if digits { text.parse().ok()? } else { return None };
    i64::try_from(seq).is_ok().then_some(seq)
}

/// Decodes `%XX` and `+`; `None` for a broken escape or bytes that are not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next()?, bytes.next()?];
                let valid = digits.iter().all(u8::is_ascii_hexdigit);
                let hex = std::str::from_utf8(&digits).ok().filter(|_| valid)?;
                u8::from_str_radix(hex, 16).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(query: &str, read: impl FnOnce(&mut Params)) -> bool {
        Params::parse(query)
            .and_then(|mut params| {
                read(&mut params);
                params.finish()
            })
            .is_err()
    }

    #[test]
    fn values_are_decoded_and_broken_escapes_refused() {
        let mut params = Params::parse("workflow=a%20b+c&metadata.team=%C3%BC").unwrap();
        assert_eq!(params.text("workflow").as_deref(), Some("a b c"));
        assert_eq!(params.below("metadata.", 1), [("team".to_owned(), "ü".to_owned())]);
        assert!(params.finish().is_ok());
        for bad in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%ff", "%ff=1"] {
            assert!(Params::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_repeated_and_bad_parameters_are_refused() {
        assert!(refused("limit=10&limti=10", |p| _ = p.limit(1)));
        assert!(refused("limit=10&limit=10", |p| _ = p.limit(1)));
        for limit in ["0", "201", "-1", "x", "", "1.5", "99999999999999999999"] {
            assert!(refused(&format!("limit={limit}"), |p| _ = p.limit(1)), "{limit}");
        }
        for seq in ["", "-1", "+1", "x", "9223372036854775808", "99999999999999999999"] {
            assert!(
                refused(&format!("after={seq}").replace('+', "%2B"), |p| _ = p.seq("after")),
                "{seq}"
            );
        }
        let many = |n: usize| (0..n).map(|at| format!("m.k{at}=v")).collect::<Vec<_>>().join("&");
        assert!(!refused(&many(8), |p| _ = p.below("m.", 8)));
        assert!(refused(&many(9), |p| _ = p.below("m.", 8)));
        assert!(!refused("limit=1000", |p| _ = p.limit_to(MAX_LONG_LIMIT, 1)));
        assert!(refused("limit=1001", |p| _ = p.limit_to(MAX_LONG_LIMIT, 1)));
        assert!(!refused("after=9223372036854775807&", |p| _ = p.seq("after")));
    }

    #[test]
    fn a_wait_is_a_duration_and_cut_to_the_longest() {
        let wait = |query: &str| Params::parse(query).unwrap().wait();
        assert_eq!(wait("wait=250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("wait=10s"), Some(Duration::from_secs(10)));
        assert_eq!(wait("wait=2h"), Some(MAX_WAIT));
        assert_eq!(wait(""), None);
        assert!(refused("wait=soon", |p| _ = p.wait()));
    }
}
