//! Reads the members of authored objects, noting every fault on the way.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Faults, Node, Pointer, duration_from_node};

/// The members of an object and where it stands.
pub(in crate::definition) struct Fields<'a> {
    node: &'a Node,
    at: Pointer,
}

impl<'a> Fields<'a> {
    /// The members of `node`, if it is an object. `what` is its name in the fault's detail.
    pub(in crate::definition) fn of(
        node: &'a Node,
        at: &Pointer,
        what: &str,
        faults: &mut Faults,
    ) -> Option<Self> {
        if let Node::Object(_) = node {
            return Some(Self { node, at: at.clone() });
        }
        faults.add(at, format!("{what} is an object, not {}", node.type_name()));
        None
    }

    /// Where the object stands.
    pub(in crate::definition) fn at(&self) -> &Pointer {
        &self.at
    }

    /// The names and values of the members, in the order they were written.
    pub(in crate::definition) fn members(&self) -> &'a [(String, Node)] {
        match self.node {
            Node::Object(members) => members,
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Array(_) => &[],
        }
    }

    /// Refuses members that are not among `known`, and those that stand twice: of two, one would be
    /// dropped in silence.
    pub(in crate::definition) fn allow(&self, known: &[&str], faults: &mut Faults) {
        let mut seen = BTreeSet::new();
        for (name, _) in self.members() {
            let at = self.at.key(name);
            if !known.contains(&name.as_str()) {
                faults.add(&at, format!("unknown field {name:?}; known are {}", known.join(", ")));
            } else if !seen.insert(name) {
                faults.add(&at, format!("the field {name:?} stands here twice"));
            }
        }
    }

    /// The member of that name.
    pub(in crate::definition) fn get(&self, name: &str) -> Option<&'a Node> {
        self.node.get(name)
    }

    /// The member of that name; its absence is a fault of the object.
    pub(in crate::definition) fn require(
        &self,
        name: &str,
        faults: &mut Faults,
    ) -> Option<&'a Node> {
        let found = self.get(name);
        if found.is_none() {
            faults.add(&self.at, format!("the field {name:?} is missing"));
        }
        found
    }

    /// The member of that name as a string.
    pub(in crate::definition) fn text(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        let node = self.get(name)?;
        if let Node::String(text) = node {
            return Some(text);
        }
        self.mistyped(name, "a string", node, faults)
    }

    /// The member of that name as a boolean.
    pub(in crate::definition) fn flag(&self, name: &str, faults: &mut Faults) -> Option<bool> {
        let node = self.get(name)?;
        if let Node::Bool(flag) = node {
            return Some(*flag);
        }
        self.mistyped(name, "true or false", node, faults)
    }

    /// The member of that name as the digits of a number.
    pub(in crate::definition) fn number(&self, name: &str, faults: &mut Faults) -> Option<&'a str> {
        let node = self.get(name)?;
        if let Node::Number(digits) = node {
            return Some(digits);
        }
        self.mistyped(name, "a number", node, faults)
    }

    /// The member of that name as an array.
    pub(in crate::definition) fn list(
        &self,
        name: &str,
        faults: &mut Faults,
    ) -> Option<&'a [Node]> {
        let node = self.get(name)?;
        if let Node::Array(items) = node {
            return Some(items);
        }
        self.mistyped(name, "an array", node, faults)
    }

    /// The member of that name as a duration.
    pub(in crate::definition) fn duration(
        &self,
        name: &str,
        faults: &mut Faults,
    ) -> Option<Duration> {
        match duration_from_node(self.get(name)?) {
            Ok(duration) => Some(duration),
            Err(detail) => {
                faults.add(&self.at.key(name), detail);
                None
            }
        }
    }

    fn mistyped<T>(&self, name: &str, want: &str, got: &Node, faults: &mut Faults) -> Option<T> {
        faults.add(&self.at.key(name), format!("{name} is {want}, not {}", got.type_name()));
        None
    }
}
