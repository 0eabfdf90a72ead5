//! JSON values as the exact text that came in.
//!
//! User data is never re-encoded: a 20-digit number, `-0`, `\u0000` and the order of keys leave
//! the server as they entered it. Only white space between tokens is dropped, at the door.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Deepest nesting of arrays and objects that is accepted: `serde_json`'s own recursion limit, so
/// that whatever passes the door can be parsed by every later reader.
pub const MAX_JSON_DEPTH: usize = 127;

/// Compact, valid JSON text of bounded depth; cheap to clone.
#[derive(Clone)]
pub struct Json(Arc<RawValue>);

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON by RFC 8259.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// Nested deeper than [`MAX_JSON_DEPTH`].
    #[error("nested deeper than {MAX_JSON_DEPTH} levels")]
    Depth,
    /// A `\uD800`–`\uDFFF` escape that is not half of a pair: no Unicode text can hold it.
    #[error("a lone surrogate (\\ud800 to \\udfff) is not a character")]
    LoneSurrogate,
}

impl Json {
    /// Checks a text and drops the white space between its tokens.
    pub fn parse(text: &str) -> Result<Self, JsonFault> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|fault| JsonFault::Syntax(fault.to_string()))?;
        Self::trusted(compact(raw.get())?)
    }

    /// Encodes a value of our own as JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonFault> {
        let raw = serde_json::value::to_raw_value(value)
            .map_err(|fault| JsonFault::Syntax(fault.to_string()))?;
        Ok(Self(Arc::from(raw)))
    }

    /// Takes text that is compact JSON already (assembled from parts that are).
    pub fn trusted(text: String) -> Result<Self, JsonFault> {
        let raw =
            RawValue::from_string(text).map_err(|fault| JsonFault::Syntax(fault.to_string()))?;
        Ok(Self(Arc::from(raw)))
    }

    /// The value `null`.
    pub fn null() -> Self {
        static NULL: LazyLock<Json> = LazyLock::new(|| Json(Arc::from(RawValue::NULL.to_owned())));
        NULL.clone()
    }

    /// A JSON string holding `text`.
    pub fn string(text: &str) -> Self {
        Self::of(text).unwrap_or_else(|_| Self::null())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The value as `serde_json` sees raw text.
    pub fn raw(&self) -> &RawValue {
        &self.0
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// Decodes into a type of ours.
    pub fn decode<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.as_str())
    }
}

impl From<&RawValue> for Json {
    fn from(raw: &RawValue) -> Self {
        Self(Arc::from(raw.to_owned()))
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

impl std::fmt::Debug for Json {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Reads text that passed [`Json::parse`] before, as part of a larger document or record.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Arc::from(Box::<RawValue>::deserialize(deserializer)?)))
    }
}

/// Appends `text` to `out` as a JSON string.
pub fn quote(text: &str, out: &mut String) {
    out.push_str(Json::string(text).as_str());
}

/// Drops white space outside strings from valid JSON, checking depth and surrogates on the way.
fn compact(text: &str) -> Result<String, JsonFault> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut depth, mut at) = (0_usize, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            b'"' => {
                let end = end_of_string(bytes, at)?;
                out.extend_from_slice(bytes.get(at..end).unwrap_or_default());
                at = end;
            }
            _ => {
                match byte {
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                if depth > MAX_JSON_DEPTH {
                    return Err(JsonFault::Depth);
                }
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|fault| JsonFault::Syntax(fault.to_string()))
}

/// The position after the closing quote of the string that opens at `start`.
pub(super) fn end_of_string(bytes: &[u8], start: usize) -> Result<usize, JsonFault> {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return Err(JsonFault::Syntax("a string does not end".to_owned())),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = after_escape(bytes, at)?,
            Some(_) => at += 1,
        }
    }
}

fn after_escape(bytes: &[u8], at: usize) -> Result<usize, JsonFault> {
    if bytes.get(at + 1) != Some(&b'u') {
        return Ok(at + 2);
    }
    match unit(bytes, at) {
        0xDC00..=0xDFFF => Err(JsonFault::LoneSurrogate),
        0xD800..=0xDBFF => {
            let pair = bytes.get(at + 6) == Some(&b'\\') && bytes.get(at + 7) == Some(&b'u');
            if pair && (0xDC00..=0xDFFF).contains(&unit(bytes, at + 6)) {
                return Ok(at + 12);
            }
            Err(JsonFault::LoneSurrogate)
        }
        _ => Ok(at + 6),
    }
}

/// The UTF-16 unit of the `\uXXXX` escape at `at`; the syntax was checked before.
fn unit(bytes: &[u8], at: usize) -> u32 {
    let digits = bytes.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok());
    digits.and_then(|hex| u32::from_str_radix(hex, 16).ok()).unwrap_or(0xDC00)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_between_tokens_stays_byte_for_byte() {
        let text = "{ \"b\" : [ 12345678901234567890123 , -0, 1.10, \"\\u0000 \u{2028} \\\"\" ],\n \"a\":1e5}";
        let json = Json::parse(text).unwrap();
        assert_eq!(
            json.as_str(),
            "{\"b\":[12345678901234567890123,-0,1.10,\"\\u0000 \u{2028} \\\"\"],\"a\":1e5}"
        );
        assert_eq!(serde_json::to_string(&json).unwrap(), json.as_str());
    }

    #[test]
    fn lone_surrogates_are_refused_and_pairs_are_not() {
        for bad in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#"{"\udfff":1}"#] {
            assert_eq!(Json::parse(bad), Err(JsonFault::LoneSurrogate), "{bad}");
        }
        assert!(Json::parse(r#""\ud83d\ude00 \\ud800""#).is_ok());
    }

    #[test]
    fn depth_is_bounded_without_recursion() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Json::parse(&nested(MAX_JSON_DEPTH)).is_ok());
        assert_eq!(Json::parse(&nested(MAX_JSON_DEPTH + 1)), Err(JsonFault::Depth));
        assert!(Json::parse(&nested(200_000)).is_err());
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in ["", "1 2", "tr ue", "{", "{'a':1}", "[1,]", "NaN", "01", "\"\u{1}\""] {
            assert!(matches!(Json::parse(bad), Err(JsonFault::Syntax(_))), "{bad:?}");
        }
    }
}
