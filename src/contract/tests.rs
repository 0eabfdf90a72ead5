//! The reader, and the values that it reads.

use super::*;
use crate::model::{Fault, Faults, Json, Pointer};

fn pointers(faults: Faults) -> Vec<String> {
    faults.into_vec().into_iter().map(|fault| fault.pointer).collect()
}

#[test]
fn every_fault_of_a_body_is_reported_at_once() {
    let body = Json::parse(r#"{"reason":7,"compensate":"no","a/b":1,"reason":7}"#).unwrap();
    let mut faults = Faults::default();
    let fields = Fields::body(&body, &mut faults).unwrap();
    assert_eq!(fields.text("reason", &mut faults), None);
    assert_eq!(fields.flag("compensate", &mut faults), None);
    fields.allow(&["reason", "compensate"], &mut faults);
    assert_eq!(pointers(faults), ["/reason", "/reason", "/compensate", "/a~1b"]);
}

#[test]
fn values_stay_exact_text() {
    let body = Json::parse(r#"{"input":{"n":1.10,"z":-0,"u":"\u0000"}}"#).unwrap();
    let mut faults = Faults::default();
    let fields = Fields::body(&body, &mut faults).unwrap();
    let input = fields.exact("input").unwrap();
    assert_eq!(input.to_json().as_str(), r#"{"n":1.10,"z":-0,"u":"\u0000"}"#);
    fields.allow(&["input"], &mut faults);
    assert!(faults.is_empty());
}

#[test]
fn what_is_no_object_is_one_fault_at_its_place() {
    for text in ["[]", "null", "7", "\"a\"", "true"] {
        let json = Json::parse(text).unwrap();
        let mut faults = Faults::default();
        let at = Pointer::root().key("step");
        assert!(Fields::of(Value::of(&json), &at, "a step", &mut faults).is_none(), "{text}");
        let found = Value::of(&json).type_name();
        let fault = Fault::new(&at, format!("a step is an object, not {found}"));
        assert_eq!(faults.into_vec(), [fault], "{text}");
    }
}

#[test]
fn a_null_member_of_a_body_reads_as_absent_and_one_of_a_workflow_is_mistyped() {
    let json = Json::parse(r#"{"a":null}"#).unwrap();
    let mut faults = Faults::default();
    let fields = Fields::body(&json, &mut faults).unwrap();
    assert!(fields.get("a").is_none() && fields.exact("a").is_some_and(Value::is_null));
    assert_eq!((fields.text("a", &mut faults), faults.len()), (None, 0));
    let fields = Fields::of(Value::of(&json), &Pointer::root(), "a step", &mut faults).unwrap();
    assert_eq!((fields.text("a", &mut faults), faults.len()), (None, 1));
}

#[test]
fn the_last_of_two_members_counts_and_the_second_is_a_fault_known_or_not() {
    let json = Json::parse(r#"{"a":1,"b":2,"a":"x","b":3}"#).unwrap();
    let mut faults = Faults::default();
    let fields = Fields::body(&json, &mut faults).unwrap();
    assert_eq!(fields.text("a", &mut faults).as_deref(), Some("x"));
    fields.allow(&["a"], &mut faults);
    assert_eq!(pointers(faults), ["/a", "/b", "/b", "/b"]);
}

#[test]
fn each_type_is_told_from_the_others() {
    let texts = ["null", "true", "-1.0", r#""a\u00fc\"""#, "[1,[2]]", r#"{"a":{"b":1}}"#];
    let names = ["null", "boolean", "number", "string", "array", "object"];
    for (text, name) in texts.into_iter().zip(names) {
        let json = Json::parse(text).unwrap();
        let value = Value::of(&json);
        assert_eq!(value.type_name(), name);
        assert_eq!(value.flag(), (name == "boolean").then_some(true), "{text}");
        assert_eq!(value.number(), (name == "number").then_some("-1.0"), "{text}");
        assert_eq!(value.text().as_deref(), (name == "string").then_some("aü\""), "{text}");
        let items = value.items().map(|items| items.iter().map(|item| item.raw()).collect());
        assert_eq!(items, (name == "array").then(|| vec!["1", "[2]"]), "{text}");
        let members = value.members().map(|members| members.len());
        assert_eq!(members, (name == "object").then_some(1), "{text}");
    }
}
