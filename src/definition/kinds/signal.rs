//! `signal`: a wait for a payload that somebody sends.
//!
//! - `name`: the signal's name, as `POST /threads/{threadId}/signals/{name}` has it
//! - `timeout` (optional): how long it is waited for; then the step fails

use std::time::Duration;

use super::members::{is_open, literal};
use super::{Kind, Reads};
use crate::definition::Action;
use crate::definition::parse::Fields;
use crate::model::{Faults, Node, is_signal_name};

pub(super) const KIND: Kind = Kind {
    name: "signal",
    fields: &["name", "timeout"],
    reads: Reads::Journalled,
    shows_life: false,
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "beside kinds that can have nothing to do")]
fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    with.require("name", faults);
    if let Some(name) = literal(with, "name", faults)
        && !is_signal_name(name)
    {
        let detail = "a signal's name must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}";
        faults.add(&with.at().key("name"), detail);
    }
    limit(with, "timeout", faults);
    Some(Action::Signal)
}

/// A member that says how long, where it is known already.
pub(super) fn limit(with: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Duration> {
    match with.get(name) {
        Some(Node::String(text)) if is_open(text) => None,
        Some(_) => with.duration(name, faults),
        None => None,
    }
}
