//! Reads JSON text as values.

use std::collections::HashMap;

use super::meter::{hold_slot, spend_bytes};
use super::value::{Members, Number, Text, Value, allow_member, allow_text};
use crate::definition::scan;
use crate::model::Json;

/// Reads text that was checked before, in one pass. The text is as deep as [`Json`] can be.
pub(super) fn read(json: &Json) -> Value {
    spend_bytes(json.as_str().len());
    Reader { text: json.as_str(), at: 0, keys: HashMap::new() }.value()
}

/// The most keys that are kept for reuse: items of a list mostly have the same keys.
const MOST_KEYS: usize = 256;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The keys that were read, as they were written.
    keys: HashMap<&'a str, Text>,
}

impl<'a> Reader<'a> {
    /// Returns the next byte that is neither white space nor a separator.
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn value(&mut self) -> Value {
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => Value::Str(Self::decode(self.string())),
            Some(b't') => self.word(4, Value::Bool(true)),
            Some(b'f') => self.word(5, Value::Bool(false)),
            Some(b'n') => self.word(4, Value::Null),
            Some(_) => Value::Num(Number::read(self.number())),
            None => Value::Null,
        }
    }

    fn word(&mut self, len: usize, value: Value) -> Value {
        self.at += len;
        value
    }

    fn object(&mut self) -> Value {
        self.at += 1;
        let mut members = Members::new();
        while self.peek().is_some_and(|next| next == b'"') {
            allow_member();
            let key = self.key();
            members.insert(key, self.value());
        }
        self.at += 1;
        Value::object(members)
    }

    fn array(&mut self) -> Value {
        self.at += 1;
        let mut items = Vec::new();
        while self.peek().is_some_and(|next| next != b']') {
            hold_slot();
            items.push(self.value());
        }
        self.at += 1;
        Value::array(items)
    }

    fn key(&mut self) -> Text {
        let raw = self.string();
        if let Some(key) = self.keys.get(raw) {
            return key.clone();
        }
        let key = Self::decode(raw);
        if self.keys.len() < MOST_KEYS {
            self.keys.insert(raw, key.clone());
        }
        key
    }

    fn decode(raw: &str) -> Text {
        let held = allow_text(raw.len());
        Text::new(scan::decode(raw).into_owned(), held)
    }

    /// Reads a string and returns it as it is written.
    fn string(&mut self) -> &'a str {
        let end = scan::end_of_string(self.text.as_bytes(), self.at);
        let raw = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        raw
    }

    fn number(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let digit = |b: u8| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E');
        // At least one byte, so that no text can hold this up for ever.
        let len = rest.bytes().position(|b| !digit(b)).unwrap_or(rest.len()).max(1);
        self.at += len;
        rest.get(..len).unwrap_or_default()
    }
}
