//! A JSON document as a tree that keeps numbers as their exact text.

use serde_json::value::RawValue;

use super::{Json, JsonFault, Members, quote};

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
        node(json.raw()).map_err(|fault| JsonFault::Syntax(fault.to_string()))
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

    /// What kind of value this is, in the words of JSON Schema.
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

fn node(raw: &RawValue) -> Result<Node, serde_json::Error> {
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text)?;
            let parsed = members.into_iter().map(|(key, value)| Ok((key, node(value)?)));
            Node::Object(parsed.collect::<Result<_, serde_json::Error>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            Node::Array(items.into_iter().map(node).collect::<Result<_, _>>()?)
        }
        Some(b'"') => Node::String(serde_json::from_str(text)?),
        Some(b't') => Node::Bool(true),
        Some(b'f') => Node::Bool(false),
        Some(b'n') => Node::Null,
        _ => Node::Number(text.to_owned()),
    })
}
