//! The place of a value in a template, while its text is read in one pass.

use crate::definition::scan;
use crate::model::Pointer;

/// The way to a value: written out when there is a fault there, and not for each value.
pub(super) struct Place<'a> {
    at: &'a Pointer,
    open: Vec<Open<'a>>,
}

/// An object or an array that is being read.
enum Open<'a> {
    /// The key of the member that is being read, as it was written; `None` before the key.
    Object(Option<&'a str>),
    /// The number of the element that is being read.
    Array(usize),
}

impl<'a> Place<'a> {
    /// Makes the place at which a template begins.
    pub(super) const fn new(at: &'a Pointer) -> Self {
        Self { at, open: Vec::new() }
    }

    /// Returns whether the next string is a key.
    pub(super) fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Object(None)))
    }

    /// Goes to the member of this key.
    pub(super) fn enter(&mut self, key: &'a str) {
        if let Some(Open::Object(member)) = self.open.last_mut() {
            *member = Some(key);
        }
    }

    /// Goes past a byte outside of strings.
    pub(super) fn pass(&mut self, byte: u8) {
        match (byte, self.open.last_mut()) {
            (b'{', _) => self.open.push(Open::Object(None)),
            (b'[', _) => self.open.push(Open::Array(0)),
            (b'}' | b']', _) => drop(self.open.pop()),
            (b',', Some(Open::Object(key))) => *key = None,
            (b',', Some(Open::Array(index))) => *index += 1,
            _ => {}
        }
    }

    /// Returns the place as a pointer.
    pub(super) fn pointer(&self) -> Pointer {
        self.open.iter().fold(self.at.clone(), |at, open| match open {
            Open::Object(Some(key)) => at.key(&scan::decode(key)),
            Open::Object(None) => at,
            Open::Array(index) => at.index(*index),
        })
    }
}
