//! Reads the members of an object that a client wrote, and notes every fault with its place.
//!
//! `serde` stops at the first fault and decodes values that should stay exact text; this does
//! neither. A member that nobody knows is a fault, and so is one that is given twice: a typo is
//! never silently ignored.

use std::borrow::Cow;
use std::collections::HashSet;
use std::time::Duration;

use super::Value;
use crate::model::{Faults, Json, Node, Pointer, duration_from_node};

/// Members that clients of other servers may expect, each with the reason why it is refused.
const NOT_YET: [(&str, &str); 2] = [
    ("queue", "there are no named queues yet: every replica takes every thread"),
    ("sessionId", "no kind of step has a session yet"),
];

/// The members of an object and where it stands.
#[derive(Debug)]
pub struct Fields<'a> {
    members: Vec<(String, Value<'a>)>,
    at: Pointer,
    /// Whether a member that is `null` reads as absent.
    null_is_absent: bool,
}

impl<'a> Fields<'a> {
    /// Opens the body of a request, in which a member that is `null` reads as absent.
    pub fn body(json: &'a Json, faults: &mut Faults) -> Option<Self> {
        let fields = Self::of(Value::of(json), &Pointer::root(), "the body", faults)?;
        Some(Self { null_is_absent: true, ..fields })
    }

    /// Opens an object; anything else is a fault. `what` is its name in the fault's detail.
    pub fn of(value: Value<'a>, at: &Pointer, what: &str, faults: &mut Faults) -> Option<Self> {
        let Some(members) = value.members() else {
            faults.add(at, format!("{what} is an object, not {}", value.type_name()));
            return None;
        };
        let mut seen = HashSet::with_capacity(members.len());
        for (name, _) in &members {
            if !seen.insert(name.as_str()) {
                faults.add(&at.key(name), format!("the field {name:?} is given twice"));
            }
        }
        Some(Self { members, at: at.clone(), null_is_absent: false })
    }

    /// Where the object stands.
    pub const fn at(&self) -> &Pointer {
        &self.at
    }

    /// Refuses members that are not among `known`.
    pub fn allow(&self, known: &[&str], faults: &mut Faults) {
        for (name, value) in self.members.iter().filter(|(name, _)| !known.contains(&name.as_str()))
        {
            let known = known.join(", ");
            let detail = match NOT_YET.iter().find(|(member, _)| member == name) {
                Some(_) if self.null_is_absent && value.is_null() => continue,
                Some((_, reason)) => format!("{name}: {reason}; known are {known}"),
                None => format!("unknown field {name:?}; known are {known}"),
            };
            self.fault(name, detail, faults);
        }
    }

    /// Notes a fault of the member of that name.
    pub fn fault(&self, name: &str, detail: impl Into<String>, faults: &mut Faults) {
        faults.add(&self.at.key(name), detail);
    }

    /// The member of that name, also if it is `null` (the last one, as every JSON parser has it).
    pub fn exact(&self, name: &str) -> Option<Value<'a>> {
        self.members.iter().rev().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// The member of that name.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.exact(name).filter(|value| !(self.null_is_absent && value.is_null()))
    }

    /// The member of that name; its absence is a fault of the object.
    pub fn require(&self, name: &str, faults: &mut Faults) -> Option<Value<'a>> {
        let found = self.get(name);
        if found.is_none() {
            faults.add(&self.at, format!("the field {name:?} is missing"));
        }
        found
    }

    /// The member of that name as a string.
    pub fn text(&self, name: &str, faults: &mut Faults) -> Option<Cow<'a, str>> {
        self.typed(name, ("a string", Value::text), faults)
    }

    /// The member of that name as a boolean.
    pub fn flag(&self, name: &str, faults: &mut Faults) -> Option<bool> {
        self.typed(name, ("true or false", Value::flag), faults)
    }

    /// The member of that name as the digits of a number.
    pub fn number(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        self.typed(name, ("a number", Value::number), faults)
    }

    /// The member of that name as an array.
    pub fn list(&self, name: &str, faults: &mut Faults) -> Option<Vec<Value<'a>>> {
        self.typed(name, ("an array", Value::items), faults)
    }

    /// The member of that name as a duration: milliseconds, or a text such as `"30s"`.
    pub fn duration(&self, name: &str, faults: &mut Faults) -> Option<Duration> {
        let value = self.get(name)?;
        // What an array or an object holds makes no difference.
        let node = match value.type_name() {
            "array" => Node::Array(Vec::new()),
            "object" => Node::Object(Vec::new()),
            _ => Node::parse(&value.to_json()).ok()?,
        };
        duration_from_node(&node).map_err(|detail| self.fault(name, detail, faults)).ok()
    }

    fn typed<T>(
        &self,
        name: &str,
        (wanted, read): (&str, fn(Value<'a>) -> Option<T>),
        faults: &mut Faults,
    ) -> Option<T> {
        let value = self.get(name)?;
        let found = read(value);
        if found.is_none() {
            let detail = format!("{name} is {wanted}, not {}", value.type_name());
            self.fault(name, detail, faults);
        }
        found
    }
}
