//! Reads JSON text as values.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use crate::limits::MAX_JSON_DEPTH;
use crate::meter::{hold_slot, spend_bytes};
use crate::value::{Members, Number, Text, Value, allow_member, allow_text};

/// The reason why a text cannot be read as JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// The text is not JSON by RFC 8259.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// The text is nested deeper than [`MAX_JSON_DEPTH`].
    #[error("nested deeper than {MAX_JSON_DEPTH} levels")]
    Depth,
    /// A `\uD800`–`\uDFFF` escape is not half of a pair: no Unicode text can hold it.
    #[error("a lone surrogate (\\ud800 to \\udfff) is not a character")]
    LoneSurrogate,
}

/// Reads a text. Its syntax is checked first, then it is read in one pass.
pub(crate) fn read(text: &str) -> Result<Value, JsonFault> {
    spend_bytes(text.len());
    let _checked: &RawValue =
        serde_json::from_str(text).map_err(|fault| JsonFault::Syntax(fault.to_string()))?;
    Reader { text, at: 0, depth: 0, keys: HashMap::new() }.value()
}

/// The most keys that are kept for reuse: items of a list mostly have the same keys.
const MOST_KEYS: usize = 256;

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The number of arrays and objects around the place.
    depth: usize,
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

    fn value(&mut self) -> Result<Value, JsonFault> {
        Ok(match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Value::Str(decode(self.string())?),
            Some(b't') => self.word(4, Value::Bool(true)),
            Some(b'f') => self.word(5, Value::Bool(false)),
            Some(b'n') => self.word(4, Value::Null),
            Some(_) => Value::Num(Number::read(self.number())),
            None => Value::Null,
        })
    }

    fn word(&mut self, len: usize, value: Value) -> Value {
        self.at += len;
        value
    }

    /// Reads what stands between two brackets, and steps over these.
    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Value, JsonFault>,
    ) -> Result<Value, JsonFault> {
        if self.depth == MAX_JSON_DEPTH {
            return Err(JsonFault::Depth);
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.at += 1;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value, JsonFault> {
        let mut members = Members::new();
        while self.peek().is_some_and(|next| next == b'"') {
            allow_member();
            let key = self.key()?;
            members.insert(key, self.value()?);
        }
        Ok(Value::object(members))
    }

    fn array(&mut self) -> Result<Value, JsonFault> {
        let mut items = Vec::new();
        while self.peek().is_some_and(|next| next != b']') {
            hold_slot();
            items.push(self.value()?);
        }
        Ok(Value::array(items))
    }

    fn key(&mut self) -> Result<Text, JsonFault> {
        let raw = self.string();
        if let Some(key) = self.keys.get(raw) {
            return Ok(key.clone());
        }
        let key = decode(raw)?;
        if self.keys.len() < MOST_KEYS {
            self.keys.insert(raw, key.clone());
        }
        Ok(key)
    }

    /// Reads a string and returns it as it is written.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            self.at += if *byte == b'\\' { 2 } else { 1 };
            if *byte == b'"' {
                break;
            }
        }
        self.text.get(start..self.at).unwrap_or_default()
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

/// Returns the text that a string stands for.
fn decode(raw: &str) -> Result<Text, JsonFault> {
    let held = allow_text(raw.len());
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    let text = if inner.contains('\\') {
        // The syntax was checked before.
        serde_json::from_str(raw).map_err(|_| JsonFault::LoneSurrogate)?
    } else {
        Cow::Borrowed(inner)
    };
    Ok(Text::new(text.into_owned(), held))
}
