//! A JSON document as a tree that keeps numbers as their exact text.

use super::json::end_of_string;
use super::{Json, JsonFault, quote};

/// One value of a parsed JSON document. Keys keep their order; numbers keep their digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string, decoded.
    String(String),
    /// An array.
    Array(Vec<Node>),
    /// An object's members in the order they were written.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Parses a document whose depth was bounded by [`Json::parse`].
    pub fn parse(json: &Json) -> Result<Self, JsonFault> {
        Reader { text: json.as_str(), at: 0, open: Vec::new() }.document()
    }

    /// The member of an object by its key (the last of that name, as every JSON parser has it).
    pub fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Self::Object(members) => {
                members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
            }
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Array(_) => None,
        }
    }

    /// The type of this value, in the words of JSON Schema.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// Appends this value as compact JSON text.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(digits) => out.push_str(digits),
            Self::String(text) => quote(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    quote(key, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// This value as JSON text.
    pub fn to_json(&self) -> Json {
        let mut out = String::new();
        self.write(&mut out);
        Json::trusted(out).unwrap_or_else(|_| Json::null())
    }
}

/// Reads a document in one pass, and on no more stack however deep it is.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    open: Vec<Open>,
}

/// An array or an object that is being read.
enum Open {
    Array(Vec<Node>),
    /// The members so far, and the key of the next one.
    Object(Vec<(String, Node)>, String),
}

impl Reader<'_> {
    fn document(mut self) -> Result<Node, JsonFault> {
        loop {
            let mut value = match self.next() {
                Some(b'[') => {
                    self.at += 1;
                    self.open.push(Open::Array(Vec::new()));
                    None
                }
                Some(b'{') => {
                    self.at += 1;
                    self.open.push(Open::Object(Vec::new(), String::new()));
                    None
                }
                Some(_) => Some(self.scalar()?),
                None => return Err(JsonFault::Syntax("a value is missing".to_owned())),
            };
            loop {
                if let Some(value) = value.take() {
                    match self.open.last_mut() {
                        Some(Open::Array(items)) => items.push(value),
                        Some(Open::Object(members, key)) => {
                            members.push((std::mem::take(key), value));
                        }
                        None => return Ok(value),
                    }
                }
                if !matches!(self.next(), Some(b']' | b'}')) {
                    break;
                }
                self.at += 1;
                value = self.open.pop().map(Open::close);
            }
            if matches!(self.open.last(), Some(Open::Object(..))) {
                let name = self.string()?;
                if let Some(Open::Object(_, key)) = self.open.last_mut() {
                    *key = name;
                }
            }
        }
    }

    /// The next byte that is no white space and no separator.
    fn next(&mut self) -> Option<u8> {
        let separates = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':');
        let rest = self.text.as_bytes().get(self.at..)?;
        self.at += rest.iter().take_while(|byte| separates(byte)).count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn string(&mut self) -> Result<String, JsonFault> {
        let end = end_of_string(self.text.as_bytes(), self.at)?;
        let raw = self.text.get(self.at..end).unwrap_or_default();
        self.at = end;
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains('\\') {
            return serde_json::from_str(raw).map_err(|fault| JsonFault::Syntax(fault.to_string()));
        }
        Ok(inner.to_owned())
    }

    fn scalar(&mut self) -> Result<Node, JsonFault> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with('"') {
            return self.string().map(Node::String);
        }
        let ends = |c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace();
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        if word.is_empty() {
            return Err(JsonFault::Syntax("a value is missing".to_owned()));
        }
        self.at += word.len();
        Ok(match word {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "null" => Node::Null,
            digits => Node::Number(digits.to_owned()),
        })
    }
}

impl Open {
    fn close(self) -> Node {
        match self {
            Self::Array(items) => Node::Array(items),
            Self::Object(members, _) => Node::Object(members),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_document_is_read_as_it_was_written() {
        for text in [
            r#"{"a":[],"b":{},"c":[[1],{"d":-0}],"a":1.10e5,"":"\u0000 \"\\"}"#,
            r#"[true,false,null,12345678901234567890123,"ü,]}",[[[]]]]"#,
            "7",
            r#""""#,
        ] {
            let node = Node::parse(&Json::parse(text).unwrap()).unwrap();
            assert_eq!(node.to_json().as_str(), text);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it measures work")]
    fn a_deep_document_takes_as_long_to_read_as_a_flat_one_of_its_length() {
        let items = vec!["1"; 200_000].join(",");
        let took = |depth: usize| -> Duration {
            let text = format!("{}{items}{}", "[".repeat(depth), "]".repeat(depth));
            let json = Json::parse(&text).unwrap();
            let read = || {
                let begun = Instant::now();
                let _node = Node::parse(&json).unwrap();
                begun.elapsed()
            };
            (0..5).map(|_| read()).min().unwrap()
        };
        let (flat, deep) = (took(1), took(120));
        assert!(deep < flat * 5, "{deep:?} against {flat:?}");
    }
}
