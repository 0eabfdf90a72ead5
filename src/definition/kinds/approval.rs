//! `approval`: a person decides.
//!
//! - `prompt`: what the person is asked
//! - `choices` [`["approve", "reject"]`]: what may be chosen
//! - `timeout` (optional): how long it is waited for
//! - `escalateAfter` (optional): how long it is waited for before the question is escalated
//! - `approvers` (optional): the names and roles that may answer; without it every operator may
//! - `notBy` (optional): `starter`, who may not
//! - `onTimeout` (optional): the choice that is taken then; without it the step fails

use super::members::{is_open, literal};
use super::{Kind, Reads, signal};
use crate::definition::Action;
use crate::definition::parse::Fields;
use crate::model::{Faults, Node};

pub(super) const KIND: Kind = Kind {
    name: "approval",
    fields: &["prompt", "choices", "timeout", "escalateAfter", "onTimeout", "approvers", "notBy"],
    reads: Reads::Journalled,
    shows_life: false,
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "beside kinds that can have nothing to do")]
fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    with.require("prompt", faults);
    with.text("prompt", faults);
    let open = matches!(with.get("choices"), Some(Node::String(text)) if is_open(text));
    if !open && let Some(choices) = with.list("choices", faults) {
        let at = with.at().key("choices");
        if choices.is_empty() {
            faults.add(&at, "there is something to choose");
        }
        for (index, choice) in choices.iter().enumerate() {
            if !matches!(choice, Node::String(text) if !text.is_empty()) {
                faults.add(&at.index(index), "a choice is a text");
            }
        }
    }
    approvers(with, faults);
    if with.text("notBy", faults).is_some_and(|text| text != "starter") {
        faults.add(&with.at().key("notBy"), "notBy is \"starter\"");
    }
    if let Some(choice) = literal(with, "onTimeout", faults) {
        on_timeout(with, choice, faults);
    }
    let timeout = signal::limit(with, "timeout", faults);
    let escalation = signal::limit(with, "escalateAfter", faults);
    if let (Some(after), Some(timeout)) = (escalation, timeout)
        && after >= timeout
    {
        faults.add(&with.at().key("escalateAfter"), "escalateAfter is shorter than timeout");
    }
    // What it says of who may answer is compiled with the names that templates may use.
    Some(Action::Approval { terms: None })
}

/// The members that say who may answer.
pub(in crate::definition) const TERMS: [&str; 2] = ["approvers", "notBy"];

/// A list of names and roles, or a template of one.
fn approvers(with: &Fields<'_>, faults: &mut Faults) {
    if matches!(with.get("approvers"), Some(Node::String(text)) if is_open(text)) {
        return;
    }
    let Some(names) = with.list("approvers", faults) else { return };
    let at = with.at().key("approvers");
    if names.is_empty() {
        faults.add(&at, "there is somebody who may answer");
    }
    for (index, name) in names.iter().enumerate() {
        if !matches!(name, Node::String(text) if !text.is_empty()) {
            faults.add(&at.index(index), "an approver is the name of a key, or a role");
        }
    }
}

fn on_timeout(with: &Fields<'_>, choice: &str, faults: &mut Faults) {
    let at = with.at().key("onTimeout");
    if with.get("timeout").is_none() {
        faults.add(&at, "onTimeout needs a timeout");
    }
    let offered = match with.get("choices") {
        Some(Node::Array(choices)) => {
            let is_it =
                |node: &Node| matches!(node, Node::String(text) if is_open(text) || text == choice);
            choices.iter().any(is_it)
        }
        Some(_) => true,
        None => matches!(choice, "approve" | "reject"),
    };
    if !offered {
        faults.add(&at, "onTimeout is one of the choices");
    }
}
