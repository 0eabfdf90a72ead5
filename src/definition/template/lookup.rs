//! Finds parts of values, however many references name parts of the same ones.
//!
//! A container that is looked into again is indexed, so that the work grows with what there is and not
//! with how often it is named.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::definition::reference::Segment;
use crate::definition::scan;

/// What was looked into, during one rendering.
#[derive(Default)]
pub(super) struct Lookup<'a> {
    /// By where a container's text begins, which no other container's does.
    known: HashMap<usize, Known<'a>>,
    /// Bytes that were read so far.
    pub(super) read: usize,
}

enum Known<'a> {
    Once,
    Object(HashMap<Cow<'a, str>, &'a str>),
    Array(Vec<&'a str>),
}

impl<'a> Lookup<'a> {
    /// The part of a value that a path leads to; `None` if there is none.
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
        // The last one of a name, as every JSON parser has it.
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
