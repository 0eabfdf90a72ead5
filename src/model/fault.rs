//! Faults of a request's body, each with a JSON pointer, collected so that one answer names all.

use serde::Serialize;

/// One fault and where in the body it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What is wrong there and what is allowed.
    pub detail: String,
}

/// A place in a JSON document, written as an RFC 6901 pointer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pointer(String);

impl Pointer {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The member `key` of this object.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}/{}", self.0, key.replace('~', "~0").replace('/', "~1")))
    }

    /// The element `index` of this array.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}/{index}", self.0))
    }

    /// The pointer as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Collects faults while a document is read.
#[derive(Debug, Default)]
pub struct Faults(Vec<Fault>);

/// Most faults named in one answer: enough for a person, bounded for the wire.
const MAX_FAULTS: usize = 100;

impl Faults {
    /// Notes a fault.
    pub fn add(&mut self, at: &Pointer, detail: impl Into<String>) {
        if self.0.len() < MAX_FAULTS {
            self.0.push(Fault { pointer: at.as_str().to_owned(), detail: detail.into() });
        }
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many faults were found so far.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The faults, in the order they were found.
    pub fn into_vec(self) -> Vec<Fault> {
        self.0
    }
}
