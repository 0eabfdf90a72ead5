//! `signal`: a wait for a payload that somebody sends.

use std::time::Duration;

use super::members::{is_template, literal};
use super::{Kind, Reads};
use crate::contract::Fields;
use crate::definition::{Action, Wait};
use crate::model::{Faults, is_signal_name};

pub(super) const KIND: Kind = Kind {
    name: "signal",
    about: "a wait for a payload that somebody sends",
    members: &[
        ("name", "the signal's name, as `POST /threads/{threadId}/signals/{name}` has it"),
        ("timeout", "how long it is waited for; then the step fails"),
    ],
    reads: Reads::Journalled,
    shows_life: false,
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "beside kinds that can have nothing to do")]
fn check(with: &Fields<'_>, faults: &mut Faults) -> Option<Action> {
    with.require("name", faults);
    if let Some(name) = literal(with, "name", faults)
        && !is_signal_name(&name)
    {
        let detail = "a signal's name must match [A-Za-z0-9][A-Za-z0-9._-]{0,127}";
        with.fault("name", detail, faults);
    }
    limit(with, "timeout", faults);
    Some(Action::Wait(Wait::Signal))
}

/// A member that says how long, where it is known already.
pub(super) fn limit(with: &Fields<'_>, name: &str, faults: &mut Faults) -> Option<Duration> {
    with.get(name).filter(|given| !is_template(*given)).and_then(|_| with.duration(name, faults))
}
