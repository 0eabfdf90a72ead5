//! Reads the members of a JSON object one by one and collects every fault, each with a pointer.
//!
//! `serde` stops at the first fault and decodes values that should stay exact text; this does
//! neither. Unknown members are faults: a typo is never silently ignored.

use std::collections::HashSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{Fault, Faults, Json, Members, Node, Pointer, duration_from_node};

/// Returns the number of an object's members; `None` if the value is not an object.
pub(super) fn count_members(json: &Json) -> Option<usize> {
    json.decode::<Members<'_>>().ok().map(|Members(members)| members.len())
}

/// The members of the request's body that have not been read yet.
pub(super) struct Fields<'a> {
    members: Vec<(String, &'a RawValue)>,
    faults: Faults,
}

impl<'a> Fields<'a> {
    /// Opens an object. A member that is given twice is a fault, and so is any value but an object.
    pub(super) fn open(body: &'a Json) -> Result<Self, Vec<Fault>> {
        let mut faults = Faults::default();
        let Ok(Members(members)) = body.decode::<Members<'a>>() else {
            let found = type_name(body.raw());
            faults.add(&Pointer::root(), format!("must be an object, not {found}"));
            return Err(faults.into_vec());
        };
        let mut seen = HashSet::with_capacity(members.len());
        for (name, _) in &members {
            if !seen.insert(name.as_str()) {
                faults.add(&Pointer::root().key(name), "is given twice");
            }
        }
        Ok(Self { members, faults })
    }

    /// Takes a member as exact text; `None` if it is absent.
    pub(super) fn json(&mut self, name: &str) -> Option<Json> {
        self.take(name).map(Json::from)
    }

    /// Takes a member as exact text; `None` if it is absent or `null`.
    pub(super) fn value(&mut self, name: &str) -> Option<Json> {
        self.json(name).filter(|json| !json.is_null())
    }

    /// Takes a string; `None` if it is absent or `null`, or is not a string (which is a fault).
    pub(super) fn string(&mut self, name: &str) -> Option<String> {
        self.decode(name, "a string")
    }

    /// Takes `true` or `false`.
    pub(super) fn boolean(&mut self, name: &str) -> Option<bool> {
        self.decode(name, "true or false")
    }

    /// Takes a whole number.
    pub(super) fn integer(&mut self, name: &str) -> Option<i64> {
        self.decode(name, "a whole number")
    }

    /// Takes a duration: milliseconds, or a text such as `"30s"`.
    pub(super) fn duration(&mut self, name: &str) -> Option<Duration> {
        let node = Node::parse(&self.value(name)?).ok()?;
        duration_from_node(&node).map_err(|detail| self.fault(name, detail)).ok()
    }

    /// Notes a fault of the member `name`.
    pub(super) fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.add(&Pointer::root().key(name), detail);
    }

    /// Ends the reading: members that are left over are faults.
    pub(super) fn finish(mut self, expected: &[&str]) -> Result<(), Vec<Fault>> {
        for (name, _) in std::mem::take(&mut self.members) {
            let detail = format!("unknown field {name:?}; known are {}", expected.join(", "));
            self.fault(&name, detail);
        }
        if self.faults.is_empty() { Ok(()) } else { Err(self.faults.into_vec()) }
    }

    fn decode<T: Deserialize<'a>>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let raw = self.take(name).filter(|raw| raw.get() != "null")?;
        if let Ok(value) = serde_json::from_str(raw.get()) {
            return Some(value);
        }
        self.fault(name, format!("must be {wanted}, not {}", type_name(raw)));
        None
    }

    /// Takes every member of that name; the last one counts.
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let mut found = None;
        self.members.retain(|(member, value)| {
            if member == name {
                found = Some(*value);
            }
            member != name
        });
        found
    }
}

fn type_name(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(_) | None => "this number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_body_is_reported_at_once() {
        let body = Json::parse(r#"{"reason":7,"compensate":"no","a/b":1,"reason":7}"#).unwrap();
        let mut fields = Fields::open(&body).unwrap();
        assert_eq!(fields.string("reason"), None);
        assert_eq!(fields.boolean("compensate"), None);
        let faults = fields.finish(&["reason", "compensate"]).unwrap_err();
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/reason", "/reason", "/compensate", "/a~1b"]);
    }

    #[test]
    fn sub_values_stay_exact_text() {
        let body = Json::parse(r#"{"input":{"n":1.10,"z":-0,"u":"\u0000"}}"#).unwrap();
        let mut fields = Fields::open(&body).unwrap();
        assert_eq!(fields.json("input").unwrap().as_str(), r#"{"n":1.10,"z":-0,"u":"\u0000"}"#);
        assert!(fields.finish(&["input"]).is_ok());
    }

    #[test]
    fn what_is_no_object_is_one_fault_at_the_root() {
        for text in ["[]", "null", "7", "\"a\"", "true"] {
            let body = Json::parse(text).unwrap();
            let faults = Fields::open(&body).err().unwrap();
            assert_eq!((faults.len(), faults[0].pointer.as_str()), (1, ""), "{text}");
        }
    }

    #[test]
    fn a_null_member_reads_as_absent_except_as_json() {
        let body = Json::parse(r#"{"a":null,"b":null,"c":null}"#).unwrap();
        let mut fields = Fields::open(&body).unwrap();
        assert_eq!(fields.string("a"), None);
        assert_eq!(fields.value("b"), None);
        assert!(fields.json("c").unwrap().is_null());
        assert!(fields.finish(&[]).is_ok());
    }
}
