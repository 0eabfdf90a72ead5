//! Serde form of user data inside a document that is made canonical: the exact text as a JSON
//! string, so that nothing in it is written in another way. Used as `#[serde(with = "verbatim")]`.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Json;

/// A field that holds user data, or that may.
pub trait Verbatim: Sized {
    /// The exact text, if there is any.
    fn text(&self) -> Option<&str>;

    /// The field with this value; `None` if the field cannot go without one.
    fn holding(json: Option<Json>) -> Option<Self>;
}

impl Verbatim for Json {
    fn text(&self) -> Option<&str> {
        Some(self.as_str())
    }

    fn holding(json: Option<Json>) -> Option<Self> {
        json
    }
}

impl Verbatim for Option<Json> {
    fn text(&self) -> Option<&str> {
        self.as_ref().map(Json::as_str)
    }

    fn holding(json: Option<Json>) -> Option<Self> {
        Some(json)
    }
}

/// Writes the text as a string, or `null`.
pub fn serialize<T: Verbatim, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.text().serialize(serializer)
}

/// Reads a string that holds JSON, or `null`.
pub fn deserialize<'de, T: Verbatim, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    let json = text.map(|text| Json::trusted(text.into_owned())).transpose();
    T::holding(json.map_err(de::Error::custom)?).ok_or_else(|| de::Error::custom("no JSON text"))
}
