//! Finds parts of values, however many references name parts of the same ones.
//!
//! A container is indexed at its second lookup, so that the work grows with the size of the data
//! and not with the number of references.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::definition::reference::Segment;
use crate::definition::scan;

/// The containers that were looked into during one rendering.
#[derive(Default)]
pub(super) struct Lookup<'a> {
    /// The containers by the address of their text, which no two share.
    known: HashMap<usize, Known<'a>>,
    /// The bytes that were read so far.
    pub(super) read: usize,
}

enum Known<'a> {
    Once,
    Object(HashMap<Cow<'a, str>, &'a str>),
    Array(Vec<&'a str>),
}

impl<'a> Lookup<'a> {
    /// Returns the part of a value that a path leads to; `None` if there is none.
    pub(super) fn follow(&mut self, text: &'a str, path: &[Segment]) -> Option<&'a str> {
        path.iter().try_fold(text, |value, segment| self.step(value, segment))
    }

    fn step(&mut self, text: &'a str, segment: &Segment) -> Option<&'a str> {
        let place = text.as_ptr().addr();
        if !self.known.contains_key(&place) {
            self.read += text.len();
            self.known.insert(place, Known::Once);
            return look(text, segment);
        }
        if let Some(Known::Once) = self.known.get(&place) {
            self.read += text.len();
            self.known.insert(place, index(text));
        }
        match (self.known.get(&place), segment) {
            (Some(Known::Object(members)), Segment::Key(key)) => members.get(key.as_str()).copied(),
            (Some(Known::Array(items)), Segment::Index(at)) => items.get(*at).copied(),
            _ => None,
        }
    }
}

fn index(text: &str) -> Known<'_> {
    if text.starts_with('{') {
        // The last member of a name wins, as in every JSON parser.
        Known::Object(scan::members(text).map(|(key, value)| (scan::decode(key), value)).collect())
    } else {
        Known::Array(scan::items(text).collect())
    }
}

fn look<'a>(text: &'a str, segment: &Segment) -> Option<&'a str> {
    match segment {
        Segment::Key(key) => scan::member(text, key),
        Segment::Index(index) => scan::items(text).nth(*index),
    }
}
