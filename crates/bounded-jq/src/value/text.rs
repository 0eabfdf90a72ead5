//! Strings: values, and the keys of objects.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

use crate::meter::{HEAD, Stop, hold, spend_bytes, stop};

/// The largest value, in bytes of memory with shared parts counted each time: some times the
/// largest request body.
pub(crate) const MAX_SIZE: usize = 64 * 1024 * 1024;

/// A string. Comparing or hashing it spends fuel for its length, in maps and sorts as well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text(Rc<String>);

impl Text {
    /// Copies a text; ends the run if it is too long.
    pub(crate) fn copy(text: &str) -> Self {
        let held = allow_text(text.len());
        Self::new(text.to_owned(), held)
    }

    /// Makes a string; `held` bytes of its memory were taken before ([`allow_text`]).
    pub(crate) fn new(text: String, held: usize) -> Self {
        if text.len() > held {
            allow_text(text.len() - held);
        }
        hold(HEAD);
        Self(Rc::new(text))
    }

    /// Appends a text, in place if the string is not shared; ends the run if the whole is too long.
    pub(super) fn push(&mut self, other: &str) {
        if self.len().saturating_add(other.len()) > MAX_SIZE {
            stop(Stop::Value);
        }
        let copied = if Rc::strong_count(&self.0) > 1 { self.len() } else { 0 };
        spend_bytes(copied + other.len());
        // Memory of the copy, and of the string that doubles as it grows.
        hold(HEAD + copied + (copied + other.len()) * 2);
        Rc::make_mut(&mut self.0).push_str(other);
    }
}

/// Takes the memory for a string of this many bytes and returns the number; ends the run if it is
/// too long.
pub(crate) fn allow_text(bytes: usize) -> usize {
    if bytes > MAX_SIZE {
        stop(Stop::Value);
    }
    spend_bytes(bytes);
    hold(bytes);
    bytes
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        spend_bytes(self.len().min(other.len()));
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        spend_bytes(self.len());
        self.0 == other.0
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        spend_bytes(self.len());
        self.0.hash(state);
    }
}
