//! What may stand in the `with` of each kind of step: a file per kind and a row in [`KINDS`].
//!
//! These checks are fast feedback at the door. A value with a template in it is known only when
//! the step runs; its executor reads the rendered `with` again and trusts nothing checked here.

mod approval;
mod exec;
mod http;
mod signal;
mod sleep;
#[cfg(test)]
mod tests;
mod transform;

pub use http::METHODS;

use super::Action;
use super::parse::Fields;
use crate::model::{Faults, Node, Pointer};

/// A kind of step.
pub(super) struct Kind {
    /// Its name, as workflows write it.
    pub(super) name: &'static str,
    /// The fields of its `with`.
    pub(super) fields: &'static [&'static str],
    /// What of its `with` is a template.
    pub(super) reads: Reads,
    /// Whether its attempts show signs of life that a `heartbeatTimeout` can wait for. What runs
    /// inside this server shows none.
    pub(super) shows_life: bool,
    /// Checks the literal parts of its `with` and says what the step does.
    pub(super) check: fn(&Fields<'_>, &mut Faults) -> Option<Action>,
}

/// What of a `with` is a template.
#[derive(Clone, Copy)]
pub(super) enum Reads {
    /// All of it.
    With,
    /// All of it, and this member is a URL whose literal text says where it leads.
    Url(&'static str),
    /// All of it, and what it says ends up in the journal: no secrets in it.
    Journalled,
    /// Its `from` alone; the whole scope if there is none.
    From,
}

/// Every kind there is.
const KINDS: [Kind; 6] =
    [http::KIND, exec::KIND, transform::KIND, sleep::KIND, signal::KIND, approval::KIND];

/// The kind of that name.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    static ALL: [Kind; 6] = KINDS;
    ALL.iter().find(|kind| kind.name == name)
}

/// The names of all kinds, for a fault's detail.
pub(super) fn names() -> String {
    KINDS.map(|kind| kind.name).join(", ")
}

/// Whether a string may hold a template, so that nothing can be said about it yet.
fn is_open(text: &str) -> bool {
    text.contains('{')
}

/// A member that is a string; what it says is returned if it holds no template.
fn literal<'a>(with: &Fields<'a>, name: &str, faults: &mut Faults) -> Option<&'a str> {
    with.text(name, faults).filter(|text| !is_open(text))
}

/// A member that is one of some words.
fn word(with: &Fields<'_>, name: &str, words: &[&str], faults: &mut Faults) {
    if let Some(text) = literal(with, name, faults)
        && !words.contains(&text)
    {
        let detail = format!("{name} is one of {}, not {text:?}", words.join(", "));
        faults.add(&with.at().key(name), detail);
    }
}

/// Checks a string, number or boolean: what can be written as text.
fn scalar(node: &Node, at: &Pointer, faults: &mut Faults) {
    match node {
        Node::String(_) | Node::Number(_) | Node::Bool(_) => {}
        Node::Null | Node::Array(_) | Node::Object(_) => {
            let detail = format!("a string, number or boolean, not {}", node.type_name());
            faults.add(at, detail);
        }
    }
}

/// A member that is an object (or a template of one); `value` checks each of its values.
fn map(
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
