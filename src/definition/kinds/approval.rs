//! `approval`: a person decides.

use super::members::{is_open, is_template, literal};
use super::{Kind, Reads, signal};
use crate::contract::Fields;
use crate::definition::{Action, Wait};
use crate::model::Faults;

/// The most choices that one question offers: a person reads them all.
pub const MAX_CHOICES: usize = 100;
/// The most names and roles that may answer one question.
pub const MAX_APPROVERS: usize = 100;

pub(super) const KIND: Kind = Kind {
    name: "approval",
    about: "a wait for a person's decision",
    members: &[
        ("prompt", "what the person is asked"),
        ("choices", "what may be chosen; `[\"approve\", \"reject\"]` unless given"),
        ("timeout", "how long it is waited for"),
        ("escalateAfter", "how long it is waited for before the question is escalated"),
        ("onTimeout", "the choice that is taken then; without it the step fails"),
        ("approvers", "the names and roles that may answer; without it every operator may"),
        ("notBy", "`starter`, who may not"),
    ],
    reads: Reads::Journalled,
    shows_life: false,
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "beside kinds that can have nothing to do")]
fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    with.require("prompt", faults);
    with.text("prompt", faults);
    let few = "there is something to choose";
    texts(with, "choices", (few, "a choice is a text", MAX_CHOICES), faults);
    let nobody = "there is somebody who may answer";
    let approver = "an approver is the name of a key, or a role";
    texts(with, "approvers", (nobody, approver, MAX_APPROVERS), faults);
    if with.text("notBy", faults).is_some_and(|text| text != "starter") {
        with.fault("notBy", "notBy is \"starter\"", faults);
    }
    if let Some(choice) = literal(with, "onTimeout", faults) {
        on_timeout(with, &choice, faults);
    }
    let timeout = signal::limit(with, "timeout", faults);
    let escalation = signal::limit(with, "escalateAfter", faults);
    if let (Some(after), Some(timeout)) = (escalation, timeout)
        && after >= timeout
    {
        with.fault("escalateAfter", "escalateAfter is shorter than timeout", faults);
    }
    // What it says of who may answer is compiled with the names that templates may use.
    Some(Action::Wait(Wait::Approval { terms: None }))
}

/// The members that say who may answer.
pub(in crate::definition) const TERMS: [&str; 2] = ["approvers", "notBy"];

/// A list of texts, or a template of one; the faults are that it is empty, that
/// one is no text, and that it has more than `most`.
fn texts(
    with: &Fields<'_>,
    name: &str,
    (empty, other, most): (&str, &str, usize),
    faults: &mut Faults,
) {
    if with.get(name).is_some_and(is_template) {
        return;
    }
    let Some(texts) = with.list(name, faults) else { return };
    let at = with.at().key(name);
    if texts.is_empty() {
        faults.add(&at, empty);
    }
    if texts.len() > most {
        faults.add(&at, format!("there are at most {most} {name}"));
    }
    for (index, text) in texts.iter().enumerate() {
        if text.text().is_none_or(|text| text.is_empty()) {
            faults.add(&at.index(index), other);
        }
    }
}

fn on_timeout(with: &Fields<'_>, choice: &str, faults: &mut Faults) {
    if with.get("timeout").is_none() {
        with.fault("onTimeout", "onTimeout needs a timeout", faults);
    }
    let is_it = |text: &str| is_open(text) || text == choice;
    let offered = match with.get("choices") {
        Some(choices) => choices.items().is_none_or(|choices| {
            choices.iter().filter_map(|choice| choice.text()).any(|text| is_it(&text))
        }),
        None => matches!(choice, "approve" | "reject"),
    };
    if !offered {
        with.fault("onTimeout", "onTimeout is one of the choices", faults);
    }
}
