//! Checks that the kinds have in common: of members whose value may be a template.

use std::borrow::Cow;

use crate::contract::{Fields, Value};
use crate::model::{Faults, Pointer};

/// Whether a string may hold a template, so that nothing can be said about it yet.
pub(super) fn is_open(text: &str) -> bool {
    text.contains('{')
}

/// Whether a value is such a string.
pub(super) fn is_template(value: Value<'_>) -> bool {
    value.text().is_some_and(|text| is_open(&text))
}

/// A member that is a string; what it says is returned if it holds no template.
pub(super) fn literal<'a>(
    with: &Fields<'a>,
    name: &str,
    faults: &mut Faults,
) -> Option<Cow<'a, str>> {
    with.text(name, faults).filter(|text| !is_open(text))
}

/// A member that is one of some words.
pub(super) fn word(with: &Fields<'_>, name: &str, words: &[&str], faults: &mut Faults) {
    if let Some(text) = literal(with, name, faults)
        && !words.contains(&&*text)
    {
        let detail = format!("{name} is one of {}, not {text:?}", words.join(", "));
        with.fault(name, detail, faults);
    }
}

/// Checks a string, number or boolean: what can be written as text.
pub(super) fn scalar(value: Value<'_>, at: &Pointer, faults: &mut Faults) {
    let found = value.type_name();
    if !matches!(found, "string" | "number" | "boolean") {
        faults.add(at, format!("a string, number or boolean, not {found}"));
    }
}

/// A member that is an object (or a template of one); `value` checks each of its values.
pub(super) fn map(
    with: &Fields<'_>,
    name: &str,
    faults: &mut Faults,
    mut value: impl FnMut(&str, Value<'_>, &Pointer, &mut Faults),
) {
    let Some(map) = with.get(name).filter(|map| !is_template(*map)) else { return };
    let at = with.at().key(name);
    let Some(members) = map.members() else {
        return faults.add(&at, format!("{name} is an object, not {}", map.type_name()));
    };
    for (key, member) in members {
        value(&key, member, &at.key(&key), faults);
    }
}
