//! One JSON value that a client wrote, as its text: nothing is decoded before it is asked for.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{Json, Members};

/// A JSON value. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a>(&'a RawValue);

impl<'a> Value<'a> {
    /// The value that a document is.
    pub fn of(json: &'a Json) -> Self {
        Self(json.raw())
    }

    /// Its text.
    pub fn raw(self) -> &'a str {
        self.0.get()
    }

    /// Its text, to be kept.
    pub fn to_json(self) -> Json {
        Json::from(self.0)
    }

    /// Its type, in the words of JSON Schema.
    pub fn type_name(self) -> &'static str {
        match self.raw().as_bytes().first() {
            Some(b'{') => "object",
            Some(b'[') => "array",
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            Some(_) | None => "number",
        }
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.raw() == "null"
    }

    /// The text of a string.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let inner = self.raw().strip_prefix('"')?.strip_suffix('"')?;
        if inner.contains('\\') {
            self.decode().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// Whether it is `true` or `false`.
    pub fn flag(self) -> Option<bool> {
        self.decode()
    }

    /// The digits of a number.
    pub fn number(self) -> Option<&'a str> {
        (self.type_name() == "number").then(|| self.raw())
    }

    /// The elements of an array.
    pub fn items(self) -> Option<Vec<Self>> {
        let items: Vec<&RawValue> = self.decode()?;
        Some(items.into_iter().map(Self).collect())
    }

    /// The elements of an array of strings.
    pub fn texts(self) -> Option<Vec<String>> {
        self.decode()
    }

    /// The members of an object, in the order they were written.
    pub fn members(self) -> Option<Vec<(String, Self)>> {
        let Members(members) = self.decode()?;
        Some(members.into_iter().map(|(name, value)| (name, Self(value))).collect())
    }

    fn decode<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_str(self.raw()).ok()
    }
}
