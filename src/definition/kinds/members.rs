//! Checks that the kinds have in common: of members whose value may be a template.

use crate::definition::parse::Fields;
use crate::model::{Faults, Node, Pointer};

/// Whether a string may hold a template, so that nothing can be said about it yet.
pub(super) fn is_open(text: &str) -> bool {
    text.contains('{')
}

/// A member that is a string; what it says is returned if it holds no template.
pub(super) fn literal<'a>(with: &Fields<'a>, name: &str, faults: &mut Faults) -> Option<&'a str> {
    with.text(name, faults).filter(|text| !is_open(text))
}

/// A member that is one of some words.
pub(super) fn word(with: &Fields<'_>, name: &str, words: &[&str], faults: &mut Faults) {
    if let Some(text) = literal(with, name, faults)
        && !words.contains(&text)
    {
        let detail = format!("{name} is one of {}, not {text:?}", words.join(", "));
        faults.add(&with.at().key(name), detail);
    }
}

/// Checks a string, number or boolean: what can be written as text.
pub(super) fn scalar(node: &Node, at: &Pointer, faults: &mut Faults) {
    match node {
        Node::String(_) | Node::Number(_) | Node::Bool(_) => {}
        Node::Null | Node::Array(_) | Node::Object(_) => {
            let detail = format!("a string, number or boolean, not {}", node.type_name());
            faults.add(at, detail);
        }
    }
}

/// A member that is an object (or a template of one); `value` checks each of its values.
pub(super) fn map(
    with: &Fields<'_>,
    name: &str,
    faults: &mut Faults,
    mut value: impl FnMut(&str, &Node, &Pointer, &mut Faults),
) {
    let at = with.at().key(name);
    match with.get(name) {
        None => {}
        Some(Node::String(text)) if is_open(text) => {}
        Some(node) => {
            if let Some(fields) = Fields::of(node, &at, name, faults) {
                for (key, node) in fields.members() {
                    value(key, node, &at.key(key), faults);
                }
            }
        }
    }
}
