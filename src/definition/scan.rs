//! Walks JSON text without building a tree: where a value ends, what an object holds.
//!
//! Values are handed on as slices of the text they came in, so that numbers, escapes and the
//! order of keys survive. The text was checked by [`Json::parse`](crate::model::Json::parse)
//! before; on anything else the answers are meaningless, but nothing here panics or loops.
//! Called by templates, conditions and filters.

use std::borrow::Cow;

/// The members of an object as (key as it was written, value), in their order; nothing if `text`
/// is no object.
pub(super) fn members(text: &str) -> Members<'_> {
    Members(Items::new(text, '{'))
}

/// The elements of an array in their order; nothing if `text` is no array.
pub(super) fn items(text: &str) -> Items<'_> {
    Items::new(text, '[')
}

/// The member of that key (the last one of that name, as every JSON parser has it).
pub(super) fn member<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    members(text).filter(|(name, _)| decode(name) == key).last().map(|(_, value)| value)
}

/// A JSON string as the text it stands for; empty if `raw` is no string.
pub(super) fn decode(raw: &str) -> Cow<'_, str> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    if inner.contains('\\') {
        Cow::Owned(serde_json::from_str(raw).unwrap_or_default())
    } else {
        Cow::Borrowed(inner)
    }
}

/// Whether a value is a string.
pub(super) fn is_string(raw: &str) -> bool {
    raw.starts_with('"')
}

/// See [`items`].
pub(super) struct Items<'a> {
    rest: &'a str,
}

impl<'a> Items<'a> {
    fn new(text: &'a str, open: char) -> Self {
        let inner = text.trim().strip_prefix(open);
        let inner = inner.and_then(|inner| inner.get(..inner.len().checked_sub(1)?));
        Self { rest: inner.unwrap_or_default() }
    }

    /// Takes one value and the separator after it.
    fn one(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        if rest.is_empty() {
            return None;
        }
        let (value, after) = rest.split_at_checked(end_of_value(rest))?;
        let after = after.trim_start();
        self.rest = after.strip_prefix([',', ':']).unwrap_or("");
        Some(value)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.one()
    }
}

/// See [`members`].
pub(super) struct Members<'a>(Items<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        let key = self.0.one()?;
        Some((key, self.0.one()?))
    }
}

/// Where the value that `text` begins with ends.
fn end_of_value(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'"') => end_of_string(bytes, 0),
        Some(b'{' | b'[') => end_of_container(bytes),
        _ => bytes
            .iter()
            .position(|b| matches!(b, b',' | b':' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'))
            .unwrap_or(bytes.len()),
    }
}

/// The position after the closing quote of the string that opens at `start`.
pub(super) fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return bytes.len(),
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
        }
    }
}

fn end_of_container(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = end_of_string(bytes, at);
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_as_they_were_written() {
        let text = r#"{"a\n":[1,"]}",{"b":-0}],"b" : 123456789012345678901234567890 , "a\n":""}"#;
        let found: Vec<_> = members(text).collect();
        assert_eq!(
            found,
            [
                (r#""a\n""#, r#"[1,"]}",{"b":-0}]"#),
                (r#""b""#, "123456789012345678901234567890"),
                (r#""a\n""#, r#""""#),
            ]
        );
        assert_eq!(member(text, "a\n"), Some(r#""""#));
        assert_eq!(member(text, "c"), None);
        let inner: Vec<_> = items(found[0].1).collect();
        assert_eq!(inner, ["1", r#""]}""#, r#"{"b":-0}"#]);
    }

    #[test]
    fn what_is_no_container_holds_nothing() {
        for text in ["", "null", "1", r#""[1]""#, "[]", "{}", "[", "{"] {
            assert_eq!(items(text).count() + members(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn strings_are_decoded() {
        assert_eq!(decode(r#""a\u0000\"ü""#), "a\0\"ü");
        assert_eq!(decode("1"), "");
    }
}
